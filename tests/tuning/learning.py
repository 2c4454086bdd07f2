"""A few plain steps of AdamW on given examples, without the trainer."""

from __future__ import annotations

from typing import Any

import torch

from flanrec.backbone import Backbone
from flanrec.tuning import Objective


def learn(objective: Objective, backbone: Backbone, examples: list[Any], *, steps: int = 4, rate: float = 1e-3) -> None:
    """Train the last two blocks of the encoder and of the decoder."""
    backbone.model.requires_grad_(False)
    stacks: Any = (backbone.model.get_encoder(), backbone.model.get_decoder())
    blocks = [block.requires_grad_(True) for stack in stacks for block in stack.block[-2:]]
    optimiser = torch.optim.AdamW([weight for block in blocks for weight in block.parameters()], lr=rate)
    prepared = objective.prepare(examples)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = objective.loss(prepared)
        (loss.total / loss.count).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
