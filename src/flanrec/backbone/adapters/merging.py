"""What becomes of an adapter after training: merged into the weights, or settled beside them."""

from __future__ import annotations

import dataclasses
from typing import Any

from peft import PeftModel

from flanrec.backbone.attachments import attached, settle
from flanrec.backbone.checkpoint import Backbone
from flanrec.errors import CheckpointError, SettingsError


def merge(backbone: Backbone) -> Backbone:
    """Add a low-rank adapter's change, or IA3's scales, to the frozen weights for good and drop the adapter.

    Logits stay the same to rounding, and the result can be saved as an ordinary backbone.

    Raises
    ------
    SettingsError
        The backbone carries no adapter, or one that cannot be merged.
    CheckpointError
        The adapter holds values that are not finite.
    """
    found = attached(backbone.model)
    if found is not None:
        raise SettingsError(f"{found.method} cannot be merged into the weights; it is saved with its backbone.")
    model: Any = adapted_model(backbone)
    separate = backbone.head_is_separate
    try:
        merged = model.merge_and_unload(safe_merge=True)
    except ValueError as problem:
        raise CheckpointError(f"The adapter cannot be merged: {problem} Train it again with a lower rate.") from problem
    result = dataclasses.replace(backbone, model=merged.requires_grad_(True).eval())
    if result.head_is_separate != separate:
        raise CheckpointError("The merge replaced the model's own head by its embeddings; this is a defect.")
    return result


def finished(backbone: Backbone) -> Backbone:
    """The backbone after training: its adapter merged where that can be, settled where not, as it is without one."""
    if hasattr(backbone.model, "peft_config"):
        return merge(backbone)
    settle(backbone.model)
    return backbone


def adapted_model(backbone: Backbone) -> PeftModel:
    """The model with the adapter that peft keeps.

    Raises
    ------
    SettingsError
        There is none.
    """
    if not isinstance(backbone.model, PeftModel):
        raise SettingsError("The backbone carries no adapter; call add_adapter() or load_adapter() first.")
    return backbone.model
