"""An adapter as a folder of its own, which names the backbone that it was trained on."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from flanrec.artefact import saving, verify_manifest
from flanrec.backbone.adapters.merging import adapted_model
from flanrec.backbone.attachments import attached, load_attachment, save_attachment
from flanrec.backbone.checkpoint import Backbone
from flanrec.errors import CheckpointError, SettingsError


def save_adapter(backbone: Backbone, folder: Path | str) -> None:
    """Write only the adapter (some megabytes) as safetensors, with a manifest that names its backbone."""
    own = attached(backbone.model)
    model: Any = backbone.model if own is not None else adapted_model(backbone)
    about = {"kind": "adapter", "base": backbone.source.name, "base_fingerprint": fingerprint(backbone)}
    with saving(folder, about) as draft:
        if own is not None:
            save_attachment(model, draft)
            return
        # Left to itself, peft asks the hub whether the embeddings were resized.
        model.save_pretrained(draft, safe_serialization=True, save_embedding_layers=False)
        (draft / "README.md").unlink(missing_ok=True)


def load_adapter(backbone: Backbone, folder: Path | str, *, trainable: bool = False) -> Backbone:
    """Put a saved adapter into the backbone it was trained on; use the returned one from here on.

    `trainable` lets it be trained further.

    Raises
    ------
    CheckpointError
        The folder is damaged, holds something else, or its adapter was trained on another backbone.
    """
    folder = Path(folder)
    about = verify_manifest(folder)
    if about.get("kind") != "adapter":
        raise CheckpointError(f"{folder} holds a {about.get('kind', 'folder')!s}, not an adapter.")
    if about.get("base_fingerprint") != fingerprint(backbone):
        raise CheckpointError(
            f"The adapter in {folder} was trained on {about.get('base')!s}, which is not the loaded backbone "
            f"({backbone.source.name}). Load that checkpoint first."
        )
    if hasattr(backbone.model, "peft_config") or attached(backbone.model) is not None:
        raise SettingsError("The backbone carries an adapter already. Merge it, or load the backbone anew.")
    if not (folder / "adapter_config.json").is_file():
        load_attachment(backbone.model, folder, trainable=trainable)
        return backbone
    adapted: Any = PeftModel.from_pretrained(backbone.model, str(folder), is_trainable=trainable)
    return dataclasses.replace(backbone, model=adapted.eval())


def fingerprint(backbone: Backbone) -> str:
    """Return a SHA-256 that tells one set of base weights from another, the same in fp32 and bf16.

    It reads tables and norms that an adapter does not change.
    """
    weights = {name.removeprefix("base_model.model."): value for name, value in backbone.model.named_parameters()}
    digest = hashlib.sha256()
    for name in ("shared.weight", "lm_head.weight", *(f"{s}.final_layer_norm.weight" for s in ("encoder", "decoder"))):
        if name in weights:  # a tied head is not listed apart
            rows = weights[name].detach()[:512].to("cpu", torch.bfloat16).contiguous()
            digest.update(name.encode() + rows.view(torch.int16).numpy().tobytes())
    return digest.hexdigest()
