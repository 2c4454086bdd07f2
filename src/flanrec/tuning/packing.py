"""Several answers to one prompt in one decoder row, so that encoder and cross-attention run once a prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from flanrec.backbone import Backbone
from flanrec.backbone.decoder import decoder_states
from flanrec.backbone.encoder import encoder_states
from flanrec.backbone.rows import Rows


@dataclass(frozen=True)
class Packed:
    """Answers in rows, all [n_prompts, longest].

    Attributes
    ----------
    inputs, labels
        int64; what the decoder reads, and what it shall say at each place.
    owner
        int64; numbers the answers of a row, -1 where the row has ended.
    weights
        float32, of the answer at each place.
    """

    inputs: Tensor
    labels: Tensor
    owner: Tensor
    weights: Tensor

    @property
    def said(self) -> Tensor:
        """Places that belong to an answer: bool [n_prompts, longest]."""
        return self.owner >= 0


def pack(rows: Sequence[Sequence[Sequence[int]]], weights: Sequence[Sequence[float]], start: int, pad: int) -> Packed:
    """Lay the answers of each prompt side by side.

    Parameters
    ----------
    rows
        For each prompt its answers as tokens; empty answers take no place.
    weights
        For each prompt the weights of its answers.
    start, pad
        The decoder's start token, and what fills the end of rows.
    """
    longest = max((sum(map(len, row)) for row in rows), default=0)
    shape = (len(rows), max(longest, 1))
    inputs, labels = torch.full(shape, pad, dtype=torch.long), torch.full(shape, pad, dtype=torch.long)
    owner, weight = torch.full(shape, -1, dtype=torch.long), torch.zeros(shape)
    for at, (row, own) in enumerate(zip(rows, weights, strict=True)):
        first = 0
        for number, (answer, value) in enumerate(zip(row, own, strict=True)):
            if not len(answer):
                continue
            span = slice(first, first + len(answer))
            labels[at, span] = torch.tensor(answer)
            inputs[at, span] = torch.tensor([start, *answer[:-1]])
            owner[at, span] = number
            weight[at, span] = value
            first += len(answer)
    return Packed(inputs, labels, owner, weight)


def answer_states(backbone: Backbone, prompts: Sequence[str], packed: Packed, max_length: int) -> Tensor:
    """Read the prompts and the packed answers: the decoder's states at the places that are said, [n, d_model].

    T5's positions are relative, so an answer reads the same wherever in the row it stands.
    """
    model: Any = backbone.model
    ids, mask = backbone.encode_texts(prompts, max_length)
    rows = Rows.of_mask(packed.said.to(backbone.device))
    stack = model.get_decoder()
    stream = stack.embed_tokens(rows.gather(packed.inputs.to(backbone.device)))
    barrier = own_answer_only(packed.owner).to(backbone.device)
    states = decoder_states(stack, stream, rows, barrier, encoder_states(model, ids, mask), mask)
    return states * model.config.d_model**-0.5 if getattr(model.config, "scale_decoder_outputs", False) else states


def own_answer_only(owner: Tensor) -> Tensor:
    """What is added to attention scores: 0 for itself and earlier tokens of the same answer, else -inf.

    Parameters
    ----------
    owner
        int64 [n, length]

    Returns
    -------
    Tensor
        float32 [n, 1, length, length]
    """
    length = owner.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool).tril()
    seen = (owner[:, :, None] == owner[:, None, :]) & earlier
    return torch.zeros(seen.shape).masked_fill(~seen, -math.inf)[:, None]
