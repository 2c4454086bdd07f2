"""A tuned backbone in the formats of other runtimes, each compared with the model before it is put in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from flanrec.artefact import saving
from flanrec.backbone import Backbone, load_backbone
from flanrec.backbone.attachments import refuse_attached
from flanrec.errors import SettingsError
from flanrec.generation.engines.ctranslate2 import Quantisation
from flanrec.generation.engines.parity import Gate, Parity, ScoresTitles
from flanrec.generation.engines.torch import TorchEngine

Format = Literal["ctranslate2", "onnx", "safetensors"]


def export_backbone(
    backbone: Backbone, folder: Path | str, form: Format, gate: Gate | None, quantisation: Quantisation = "int8"
) -> Parity | None:
    """Write a backbone for another runtime: all or nothing.

    Parameters
    ----------
    backbone : Backbone
        In float32, without an adapter.
    folder : path
        Empty, new, or of an earlier export.
    form : "ctranslate2", "onnx" or "safetensors"
        The last is a plain checkpoint as transformers reads it.
    gate : Gate, optional
        What the result must pass before it is put in place.
    quantisation : "int8" or "float32"
        Of CTranslate2.

    Returns
    -------
    Parity, or None without a gate
        How near the result comes; it stands in the folder's manifest too.

    Raises
    ------
    SettingsError
        The extra of the format is not installed, the backbone is in another number format, or it carries an adapter.
    CheckpointError
        The result differs too much from the model, and nothing was written; or the folder holds other files.
    """
    refuse_attached(backbone.model, form)
    if form != "safetensors":
        _refuse_unfit(backbone, form)
    about: dict[str, Any] = {"kind": form, "backbone": backbone.source.name, "weights": backbone.weights_digest()}
    if form == "ctranslate2":
        about["quantisation"] = quantisation
    elif form == "safetensors":
        about |= {"kind": "backbone", "source": backbone.source.name, "revision": backbone.source.revision}
    with saving(folder, about) as draft:
        scorer = _written(backbone, draft, form, quantisation)
        if gate is None:
            return None
        parity = gate.check(scorer, quantisation if form == "ctranslate2" else "float32")
        about["parity"] = parity.to_dict()
    return parity


def _refuse_unfit(backbone: Backbone, form: Format) -> None:
    if backbone.dtype != torch.float32 or backbone.device.type != "cpu" or hasattr(backbone.model, "peft_config"):
        raise SettingsError(
            f"{form} is made from float32 weights on a CPU without an adapter; load with device cpu and fp32, and "
            "merge() first"
        )


def _written(backbone: Backbone, folder: Path, form: Format, quantisation: Quantisation) -> ScoresTitles:
    """Write one format into a folder, and open what was written."""
    if form == "ctranslate2":
        from flanrec.generation.engines import ctranslate2

        return ctranslate2.write(backbone, folder, quantisation)
    if form == "onnx":
        from flanrec.generation.engines import onnx

        return onnx.write(backbone, folder)
    backbone.save(folder)
    return TorchEngine(load_backbone(folder, device="cpu"), form)
