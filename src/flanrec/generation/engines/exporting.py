"""A tuned backbone in the formats of other runtimes, each compared with the model before it is put in place."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from flanrec.backbone import Backbone, load_backbone
from flanrec.errors import CheckpointError
from flanrec.generation.engines.ctranslate2 import Quantisation
from flanrec.generation.engines.parity import Gate, Parity
from flanrec.generation.engines.torch import TorchEngine

Format = Literal["ctranslate2", "onnx", "safetensors"]


def export_backbone(
    backbone: Backbone, folder: Path | str, form: Format, gate: Gate, quantisation: Quantisation = "int8"
) -> Parity:
    """Write a backbone for another runtime.

    Parameters
    ----------
    backbone : Backbone
        In float32, without an adapter.
    folder : path
        Empty, new, or of an earlier export.
    form : "ctranslate2", "onnx" or "safetensors"
        The last is a plain checkpoint as transformers reads it.
    gate : Gate
        What the result must pass.
    quantisation : "int8" or "float32"
        Of CTranslate2.

    Returns
    -------
    Parity
        How near the result comes; it stands in the folder's manifest too.

    Raises
    ------
    SettingsError
        The extra of the format is not installed, or the backbone is in another number format.
    CheckpointError
        The result differs too much from the model, and nothing was written; or the folder holds other files.
    """
    parity: Parity | None
    if form == "ctranslate2":
        from flanrec.generation.engines import ctranslate2

        parity = ctranslate2.export(backbone, folder, quantisation=quantisation, gate=gate)
    elif form == "onnx":
        from flanrec.generation.engines import onnx

        parity = onnx.export(backbone, folder, gate=gate)
    else:
        backbone.save(folder)
        try:
            parity = gate.check(TorchEngine(load_backbone(Path(folder), device="cpu"), form), "float32")
        except CheckpointError:
            shutil.rmtree(folder)
            raise
    assert parity is not None
    return parity
