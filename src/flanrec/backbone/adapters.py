"""Low-rank adapters (LoRA): a few trained matrices beside a frozen backbone.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021: a frozen weight W acts as
W + (alpha / rank) B A, with A [rank, in] and B [out, rank] trained and B starting at zero.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model

from flanrec.artefact import saving, verify_manifest
from flanrec.backbone.checkpoint import Backbone
from flanrec.errors import CheckpointError, SettingsError


def add_lora(
    backbone: Backbone,
    *,
    rank: int = 16,
    alpha: float = 32.0,
    dropout: float = 0.05,
    targets: Sequence[str] = ("q", "v"),
) -> Backbone:
    """Put an untrained adapter around a backbone and freeze everything else.

    The adapter starts as no change at all. The matrices go into the given backbone's own modules:
    use the returned one from here on.

    Parameters
    ----------
    rank
        Columns of the low-rank matrices, at least 1.
    alpha
        Scale of the change; it acts as alpha / rank.
    dropout
        Share of the adapter's input that is dropped in training, in [0, 1).
    targets
        Names of the linear maps inside the blocks: ``q``, ``k``, ``v``, ``o``, ``wi_0``, ``wi_1``, ``wo``.

    Raises
    ------
    SettingsError
        A setting is out of range, a target does not exist, or there is an adapter already.
    """
    _refuse_settings(backbone, rank, alpha, dropout, targets)
    settings = LoraConfig(
        task_type=TaskType.SEQ_2_SEQ_LM,
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=list(targets),
        bias="none",
    )
    adapted: Any = get_peft_model(backbone.model, settings)
    adapted.peft_config["default"].base_model_name_or_path = backbone.source.name
    adapted.eval()
    return dataclasses.replace(backbone, model=adapted)


def merge(backbone: Backbone) -> Backbone:
    """Add the adapter's change to the frozen weights for good and drop the adapter.

    Logits stay the same to rounding, and the result can be saved as an ordinary backbone.

    Raises
    ------
    CheckpointError
        The adapter holds values that are not finite.
    """
    model: Any = _adapted(backbone)
    separate = backbone.head_is_separate
    try:
        merged = model.merge_and_unload(safe_merge=True)
    except ValueError as problem:
        raise CheckpointError(f"The adapter cannot be merged: {problem} Train it again with a lower rate.") from problem
    result = dataclasses.replace(backbone, model=merged.requires_grad_(True).eval())
    if result.head_is_separate != separate:
        raise CheckpointError("The merge replaced the model's own head by its embeddings; this is a defect.")
    return result


def save_adapter(backbone: Backbone, folder: Path | str) -> None:
    """Write only the adapter (some megabytes) as safetensors, with a manifest that names its backbone."""
    model: Any = _adapted(backbone)
    about = {"kind": "adapter", "base": backbone.source.name, "base_fingerprint": fingerprint(backbone)}
    with saving(folder, about) as draft:
        # Left to itself, peft asks the hub whether the embeddings were resized.
        model.save_pretrained(draft, safe_serialization=True, save_embedding_layers=False)
        (draft / "README.md").unlink(missing_ok=True)


def load_adapter(backbone: Backbone, folder: Path | str, *, trainable: bool = False) -> Backbone:
    """Put a saved adapter around the backbone it was trained on.

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
    if hasattr(backbone.model, "peft_config"):
        raise SettingsError("The backbone carries an adapter already. Call merge() first.")
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


def _adapted(backbone: Backbone) -> PeftModel:
    if not isinstance(backbone.model, PeftModel):
        raise SettingsError("The backbone carries no adapter; call add_lora() or load_adapter() first.")
    return backbone.model


def _refuse_settings(backbone: Backbone, rank: int, alpha: float, dropout: float, targets: Sequence[str]) -> None:
    if hasattr(backbone.model, "peft_config"):
        raise SettingsError("The backbone carries an adapter already. Call merge() first.")
    if rank < 1:
        raise SettingsError(f"rank is {rank}; it must be at least 1.")
    if not alpha > 0:
        raise SettingsError(f"alpha is {alpha}; it must be above 0.")
    if not 0 <= dropout < 1:
        raise SettingsError(f"dropout is {dropout}; it must be at least 0 and below 1.")
    linear = {
        name.rsplit(".", 1)[-1]
        for name, module in backbone.model.named_modules()
        if isinstance(module, torch.nn.Linear) and ".block." in name
    }
    unknown = sorted(set(targets) - linear)
    if unknown or not targets:
        raise SettingsError(f"targets {unknown} are not linear maps of this model; choose from {sorted(linear)}.")
