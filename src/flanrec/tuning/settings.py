"""The settings of a training run, and what they mean on this machine."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from flanrec.backbone.hardware import has_fast_bf16

OptimizerName = Literal["adamw", "adafactor", "sgd"]
ScheduleName = Literal["linear", "cosine", "one_cycle", "constant"]


class TrainerSettings(BaseModel):
    """How long, how fast and how carefully to train. Learning rates belong to the parameter groups."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    steps: int = Field(ge=1)
    """Number of weight updates."""
    batch_size: int = Field(default=16, ge=1)
    """Examples in one forward pass."""
    accumulation: int = Field(default=1, ge=1)
    """Forward passes per update; one update sees batch_size * accumulation examples."""
    workers: int | None = Field(default=None, ge=0)
    """Processes that draw and tokenise batches ahead of the model, which changes nothing else; None takes some on a
    GPU, none on a CPU, where drawing is a hundredth of a step."""
    seed: int = Field(default=42, ge=0, lt=2**32)
    """Decides, together with the step, which examples are drawn and what dropout drops."""
    optimizer: OptimizerName = "adamw"
    """adamw, adafactor (second moments by rows and columns: far less memory) or sgd with momentum."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decay of the groups that do not set their own."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's averaging of gradients and of their squares; the first is also SGD's momentum."""
    schedule: ScheduleName = "linear"
    """Course of the learning rates after warm-up: see `flanrec.tuning.schedule`."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps during which the learning rates rise."""
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Largest norm of all gradients together; None does not clip."""
    evaluate_every: int | None = Field(default=None, ge=1)
    """Steps between evaluations; None evaluates only after the last step."""
    patience: int | None = Field(default=None, ge=1)
    """Evaluations in a row without improvement before training stops; None trains to the end."""
    checkpoint_every: int | None = Field(default=None, ge=1)
    """Steps between checkpoints; None does not count steps."""
    checkpoint_seconds: float | None = Field(default=None, gt=0)
    """Seconds between checkpoints; None does not watch the clock. With checkpoint_every, whichever comes first."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Newest checkpoints to keep; older ones are deleted."""
    autocast: Literal["off", "bf16", "auto"] = "off"
    """Number format of the forward pass; auto takes bf16 where the hardware multiplies in it."""
    average: float = Field(default=0.0, ge=0, lt=1)
    """Decay of a moving average of the trained weights, which is evaluated and becomes the result; 0 is off."""


def resolve_autocast(choice: str, device: torch.device) -> Literal["off", "bf16"]:
    """Return what ``auto`` means on a device; ``off`` and ``bf16`` stay as they are."""
    wanted = choice == "bf16" or (choice == "auto" and has_fast_bf16(device))
    return "bf16" if wanted else "off"
