"""Engines: what runs a tuned T5 for inference."""

from __future__ import annotations

from pathlib import Path

from flanrec.backbone import Backbone
from flanrec.errors import SettingsError
from flanrec.generation.engines.base import Engine
from flanrec.generation.engines.torch import TorchEngine


def make_engine(name: str | Path, backbone: Backbone) -> Engine:
    """An engine by name.

    Parameters
    ----------
    name
        ``torch``: the backbone as it was loaded; ``int8``: its weights and activations rounded, on a CPU; or a folder
        that ``flanrec export ctranslate2`` wrote of this backbone.

    Raises
    ------
    SettingsError
        There is no such engine or folder, the backbone cannot be rounded, or the extra of an engine is not installed.
    CheckpointError
        The folder is damaged, or was made from other weights.
    """
    if name == "torch":
        return TorchEngine(backbone)
    if name == "int8":
        return TorchEngine.int8(backbone)
    if not Path(name).is_dir():
        raise SettingsError(
            f"the engine {str(name)!r} is neither torch nor int8 nor a folder; "
            "write one with `flanrec export ctranslate2`"
        )
    from flanrec.generation.engines.ctranslate2 import CTranslate2Engine

    return CTranslate2Engine(name, backbone)


__all__ = ["Engine", "TorchEngine", "make_engine"]
