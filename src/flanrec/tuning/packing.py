"""Several answers to one prompt in one decoder row, so that encoder and cross-attention run once a prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from flanrec.backbone import Backbone
from flanrec.backbone.decoder import decoder_states
from flanrec.backbone.encoder import encoder_states
from flanrec.backbone.rows import Rows


class Packed(NamedTuple):
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


class Asked(NamedTuple):
    """Prompts, and the answers packed for them, in main memory.

    Attributes
    ----------
    ids, mask
        int64 [n_prompts, longest], of `Backbone.tokenise`.
    packed
        One row of answers a prompt.
    """

    ids: Tensor
    mask: Tensor
    packed: Packed


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


def asked(
    backbone: Backbone, prompts: Sequence[str], answers: Sequence[Sequence[Sequence[int]]],
    weights: Sequence[Sequence[float]], max_length: int,
) -> Asked:  # fmt: skip
    """Tokenise prompts, longer ones cut to `max_length`, and pack each one's answers; see `pack`."""
    return Asked(*backbone.tokenise(prompts, max_length), _packed(backbone, answers, weights))


def asked_tokens(
    backbone: Backbone, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[Sequence[int]]],
    weights: Sequence[Sequence[float]],
) -> Asked:  # fmt: skip
    """As `asked`, for prompts that are tokens already."""
    return Asked(*backbone.side_by_side(prompts), _packed(backbone, answers, weights))


def _packed(
    backbone: Backbone, answers: Sequence[Sequence[Sequence[int]]], weights: Sequence[Sequence[float]]
) -> Packed:
    return pack(answers, weights, backbone.model.config.decoder_start_token_id, backbone.tokenizer.pad_token_id)


def answer_states(backbone: Backbone, asked: Asked) -> Tensor:
    """Read the prompts and the packed answers: the decoder's states at the places that are said, [n, d_model].

    T5's positions are relative, so an answer reads the same wherever in the row it stands.
    """
    model: Any = backbone.model
    packed = asked.packed
    ids, mask = asked.ids.to(backbone.device, non_blocking=True), asked.mask.to(backbone.device, non_blocking=True)
    rows = Rows.of_mask(packed.said.to(backbone.device))
    stack = model.get_decoder()
    stream = stack.embed_tokens(rows.gather(packed.inputs.to(backbone.device)))
    barrier = own_answer_only(packed.owner).to(backbone.device)
    states = decoder_states(stack, stream, rows, barrier, *encoder_states(model, ids, mask))
    return states * model.config.d_model**-0.5 if getattr(model.config, "scale_decoder_outputs", False) else states


def said_weights(asked: Asked) -> Tensor:
    """The weights of the places that are said, in the order of `answer_states`: float32 [n]."""
    return asked.packed.weights[asked.packed.said]


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
