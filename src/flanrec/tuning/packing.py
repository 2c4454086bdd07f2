"""Several answers to one prompt in one decoder row, so that encoder and cross-attention run once a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from flanrec.backbone import Backbone


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


def decoder_states(backbone: Backbone, prompts: Sequence[str], packed: Packed, max_length: int) -> Tensor:
    """Read the prompts and the packed answers: the decoder's states at the places that are said, [n, d_model].

    T5's positions are relative, so an answer reads the same wherever in the row it stands.
    """
    model: Any = backbone.model
    device = backbone.device
    ids, mask = backbone.encode_texts(prompts, max_length)
    encoded = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
    states: Tensor = model.get_decoder()(
        input_ids=packed.inputs.to(device),
        attention_mask=own_answer_only(packed.owner, encoded.dtype).to(device),
        encoder_hidden_states=encoded,
        encoder_attention_mask=mask,
        use_cache=False,
    ).last_hidden_state
    if getattr(model.config, "scale_decoder_outputs", False):
        states = states * model.config.d_model**-0.5
    return states[packed.said.to(device)]


def own_answer_only(owner: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to attention scores: 0 for earlier tokens of the same answer, else very little.

    Parameters
    ----------
    owner
        int64 [n, length]

    Returns
    -------
    Tensor
        dtype [n, 1, length, length]
    """
    length = owner.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool).tril()
    seen = (owner[:, :, None] == owner[:, None, :]) & earlier
    barrier = torch.full(seen.shape, torch.finfo(dtype).min, dtype=dtype)
    return barrier.masked_fill(seen, 0.0)[:, None]
