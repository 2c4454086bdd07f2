"""Timing of things side by side: alternate runs, medians with ranges, operations counted, the machine's own peak."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode


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


def alternate(work: Mapping[str, Callable[[], Any]], runs: int) -> tuple[dict[str, Timing], dict[str, Any]]:
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
            begun = time.perf_counter()
            run()
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


def matmul_peak(runs: int = 7, size: int = 2048) -> float:
    """Operations a second, 10^9, of a large float32 matrix product on the threads in use: the best of several."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    left @ right
    seconds = []
    for _ in range(runs):
        begun = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - begun)
    return 2 * size**3 / min(seconds) / 1e9
