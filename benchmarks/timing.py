"""Timing of things side by side: alternate runs, medians with ranges, operations counted, the machine's own peak."""

from __future__ import annotations

import json
import pkgutil
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.utils.flop_counter import FlopCounterMode

from flanrec.artefact import write_text_atomically

CPU = torch.device("cpu")


@dataclass
class Timing:
    """The seconds of several runs of one thing.

    Attributes
    ----------
    seconds
        One entry a run.
    gflop
        Floating-point operations of a run in matrix products, 10^9; a multiply-add counts two. None where not counted.
    """

    seconds: list[float] = field(default_factory=list)
    gflop: float | None = None

    @property
    def median(self) -> float:
        """Of the seconds."""
        return statistics.median(self.seconds)

    @property
    def gflops(self) -> float | None:
        """Achieved operations a second, 10^9."""
        return None if self.gflop is None else self.gflop / self.median

    def to_dict(self, per_run: float = 1.0) -> dict[str, Any]:
        """Median and range; `per_run` is how many users or examples a run handles."""
        return {
            "seconds": self.median,
            "range": [min(self.seconds), max(self.seconds)],
            "runs": len(self.seconds),
            "per_second": per_run / self.median,
            "gflop": self.gflop,
            "gflops": self.gflops,
        }


def write_record(path: Path | None, record: Mapping[str, Any]) -> None:
    """Put a record in place of an earlier one, whole or not at all; nothing without a path."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, json.dumps(record, indent=1) + "\n")


def settle(device: torch.device) -> None:
    """Wait until a device has done what it was given; a GPU takes orders long before it is done with them."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def alternate(
    work: Mapping[str, Callable[[], Any]], runs: int, device: torch.device = CPU
) -> tuple[dict[str, Timing], dict[str, Any]]:
    """Run everything once to warm up and count, then all in turn `runs` times, so that noise meets all alike.

    Returns
    -------
    timings, and what each thing returned in its first run
    """
    timings, results = {}, {}
    for name, run in work.items():
        results[name], gflop = counted(run)
        timings[name] = Timing(gflop=gflop)
    for _ in range(runs):
        for name, run in work.items():
            settle(device)
            begun = time.perf_counter()
            run()
            settle(device)
            timings[name].seconds.append(time.perf_counter() - begun)
    return timings, results


def counted(run: Callable[[], Any]) -> tuple[Any, float | None]:
    """What a run returns, and its matrix products in 10^9 operations; None for work outside torch."""
    with FlopCounterMode(display=False) as counter:
        result = run()
    total = counter.get_total_flops()
    return result, total / 1e9 if total else None


def ratio(slow: Timing, fast: Timing) -> dict[str, float]:
    """How many times faster, by medians, and by each pair of neighbouring runs the least and the most."""
    pairs = [one / other for one, other in zip(slow.seconds, fast.seconds, strict=True)]
    return {"ratio": slow.median / fast.median, "least": min(pairs), "most": max(pairs)}


def matmul_peak(device: torch.device = CPU, dtype: torch.dtype = torch.float32, runs: int = 7) -> float:
    """Operations a second, 10^9, of a large matrix product on the threads in use: the best of several."""
    size = 2048 if device.type == "cpu" else 8192
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    left @ right
    seconds = []
    for _ in range(runs):
        settle(device)
        begun = time.perf_counter()
        left @ right
        settle(device)
        seconds.append(time.perf_counter() - begun)
    return 2 * size**3 / min(seconds) / 1e9


def shares(
    run: Callable[[], Any], phases: Mapping[str, tuple[str, str]], device: torch.device = CPU
) -> dict[str, float]:
    """How the time of one run divides.

    Parameters
    ----------
    run
        Measured once.
    phases
        For each name the place of a function that no other one of these calls: a module or a class by its
        full name, and the attribute.

    Returns
    -------
    Shares of the run's time; ``rest`` is what none of the functions took
    """
    seconds = dict.fromkeys(phases, 0.0)
    with ExitStack() as changed:
        for name, (owner, attribute) in phases.items():
            place = pkgutil.resolve_name(owner)
            changed.enter_context(
                patch.object(place, attribute, _timed(getattr(place, attribute), name, seconds, device))
            )
        settle(device)
        begun = time.perf_counter()
        run()
        settle(device)
        total = time.perf_counter() - begun
    return {name: spent / total for name, spent in seconds.items()} | {"rest": 1 - sum(seconds.values()) / total}


def _timed(
    function: Callable[..., Any], name: str, seconds: dict[str, float], device: torch.device
) -> Callable[..., Any]:
    def timed(*arguments: Any, **named: Any) -> Any:
        settle(device)
        begun = time.perf_counter()
        try:
            return function(*arguments, **named)
        finally:
            settle(device)
            seconds[name] += time.perf_counter() - begun

    return timed
