"""Which device and which number format a model runs on."""

from __future__ import annotations

import os
from typing import Final, Literal

import torch

from flanrec.errors import SettingsError

Precision = Literal["auto", "fp32", "bf16"]
_DTYPES: Final = {"auto": torch.float32, "fp32": torch.float32, "bf16": torch.bfloat16}


def choose_device(device: str = "auto") -> torch.device:
    """Return the torch device for a name; ``auto`` takes CUDA, then MPS, then the CPU.

    Of several GPUs, ``auto`` and ``cuda`` take that of the process's ``LOCAL_RANK``, which torchrun, accelerate and Ray
    Train set.

    Raises
    ------
    SettingsError
        The name is unknown or the device is not on this machine.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if cuda and device in {"auto", "cuda"} and os.environ.get("LOCAL_RANK", "").isdigit():
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    if device == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as problem:
        raise SettingsError(f"device {device!r} is not known; use auto, cpu, cuda, cuda:0 … or mps.") from problem
    missing = (chosen.type == "cuda" and (not cuda or (chosen.index or 0) >= torch.cuda.device_count())) or (
        chosen.type == "mps" and not mps
    )
    if missing:
        raise SettingsError(f"device {device!r} is not on this machine; use auto or cpu.")
    return chosen


def choose_dtype(precision: str) -> torch.dtype:
    """Return the weights' format for ``auto`` (fp32), ``fp32`` or ``bf16``.

    Raises
    ------
    SettingsError
        fp16, which T5 overflows in, or an unknown name.
    """
    if precision in _DTYPES:
        return _DTYPES[precision]
    if precision in {"fp16", "float16", "half"}:
        raise SettingsError("fp16 overflows inside T5 and gives nan; use precision bf16 or fp32.")
    raise SettingsError(f"precision {precision!r} is not known; use auto, fp32 or bf16.")


def has_fast_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bf16 matrices in hardware (CPU: AVX512-BF16 or AMX; CUDA: Ampere or later)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Which of these questions torch can answer differs between its versions.
        ask = getattr(torch.cpu, "get_capabilities", None)
        known = ask() if ask is not None else {}
        probes = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
        return any(known.get(name) for name in ("avx512_bf16", "amx_bf16")) or any(
            probe() for probe in probes if probe is not None
        )
    return False
