"""A smaller T5 from a larger one: some of its blocks, and all of its tables."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from flanrec.backbone.attachments import refuse_attached
from flanrec.backbone.checkpoint import Backbone
from flanrec.errors import SettingsError


def shrunken(backbone: Backbone, encoder_layers: int, decoder_layers: int) -> Backbone:
    """A copy with some of the blocks of encoder and decoder, evenly spaced; the original stays as it is.

    Vocabulary, width and head are the larger model's own, so both read the same tokens. What it says is no longer
    sensible: tune it, best with the larger one as its teacher. It is saved and loaded as any backbone.

    Parameters
    ----------
    encoder_layers, decoder_layers
        Blocks to keep, at least 1 of each.

    Raises
    ------
    SettingsError
        There are fewer blocks, or the backbone carries an adapter.

    References
    ----------
    Shleifer and Rush, "Pre-trained summarization distillation", 2020: shrink and fine-tune.
    """
    if hasattr(backbone.model, "peft_config"):
        raise SettingsError("Shrinking takes a plain T5. Merge the adapter first.")
    refuse_attached(backbone.model, "Shrinking")
    config: Any = backbone.model.config
    chosen = [
        kept_blocks(total, kept, f"{part} blocks")
        for total, kept, part in (
            (int(config.num_layers), encoder_layers, "encoder"),
            (int(config.num_decoder_layers), decoder_layers, "decoder"),
        )
    ]
    separate = backbone.head_is_separate
    model: Any = copy.deepcopy(backbone.model).eval()
    for stack, kept in zip((model.get_encoder(), model.get_decoder()), chosen, strict=True):
        _keep(stack, kept)
    model.config.num_layers, model.config.num_decoder_layers = encoder_layers, decoder_layers
    name = f"{backbone.source.name}, {encoder_layers}+{decoder_layers} blocks"
    result = replace(backbone, model=model, source=replace(backbone.source, name=name))
    if result.head_is_separate != separate:
        raise SettingsError("Shrinking replaced the model's own head by its embeddings; this is a defect.")
    return result


def kept_blocks(total: int, kept: int, what: str = "blocks") -> list[int]:
    """Which blocks stay: the first, the last, and others as far from each other as can be.

    The first one holds the positions of all, where a T5 has one table of them.

    Raises
    ------
    SettingsError
        `kept` is not between 1 and `total`.

    Examples
    --------
    >>> kept_blocks(8, 4), kept_blocks(12, 3), kept_blocks(8, 1), kept_blocks(3, 3)
    ([0, 2, 5, 7], [0, 6, 11], [0], [0, 1, 2])
    """
    if not 1 <= kept <= total:
        raise SettingsError(f"{kept} {what} are to be kept, of {total}; choose a number from 1 to {total}")
    # Halves are rounded up, whatever numpy makes of them.
    return [int(place) for place in np.floor(np.linspace(0, total - 1, kept) + 0.5)]


def _keep(stack: Any, kept: list[int]) -> None:
    stack.block = nn.ModuleList([stack.block[place] for place in kept])
    stack.config.num_layers = len(kept)
    if stack.is_decoder:
        stack.config.num_decoder_layers = len(kept)
    for number, block in enumerate(stack.block):
        # Transformers keeps the past of each block under its number.
        for layer in block.layer:
            for attention in ("SelfAttention", "EncDecAttention"):
                if hasattr(layer, attention):
                    getattr(layer, attention).layer_idx = number
