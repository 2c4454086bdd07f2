"""The T5 decoder over real tokens alone, all positions at once, as tuning needs it."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from flanrec.backbone.encoder import attend, split_heads, through
from flanrec.backbone.rows import Rows


def decoder_states(
    stack: Any,
    stream: Tensor,
    rows: Rows,
    barrier: Tensor,
    prompt_states: Tensor,
    prompt_mask: Tensor,
    only: Tensor | None = None,
) -> Tensor:
    """What a decoder makes of each token, as ``model.get_decoder()`` has it, in training and in use.

    Parameters
    ----------
    stack : decoder of a T5ForConditionalGeneration or a relative of it
    stream : [n_tokens, d_model]
        Input embeddings of the real tokens.
    rows : Rows
        Where these stand in the rectangle [n, longest].
    barrier : float32, broadcast to [n, heads, longest, longest]
        Added to the scores of the self-attention: 0 for what a place may see, -inf for the rest. No place may
        see nothing, fillers included.
    prompt_states : [n, prompt, d_model]
    prompt_mask : [n, prompt], 1 where there is a token
    only : int64 [n]
        The place of each row that is wanted; None for all. The last block then works for these places alone.

    Returns
    -------
    Tensor [n_tokens, d_model], or [n, d_model] of the places that are wanted
        Not scaled, where the checkpoint wants that before its head.
    """
    prompt_rows = Rows.of_mask(prompt_mask)
    told = prompt_rows.gather(prompt_states)
    told_bias = torch.zeros(prompt_mask.shape, device=stream.device).masked_fill(prompt_mask == 0, -math.inf)
    hidden: Tensor = stack.dropout(stream)
    bias = barrier
    told_bias = told_bias[:, None, None, :]
    for number, block in enumerate(stack.block, start=1):
        attention = block.layer[0].SelfAttention
        if attention.has_relative_attention_bias:
            bias = attention.compute_bias(*barrier.shape[-2:]) + barrier
        wanted = only if number == len(stack.block) else None
        hidden = through(stack, partial(_block, block, rows, prompt_rows, wanted), hidden, bias, told, told_bias)
    states: Tensor = stack.dropout(stack.final_layer_norm(hidden))
    return states


def _block(
    block: Any,
    rows: Rows,
    prompt_rows: Rows,
    only: Tensor | None,
    hidden: Tensor,
    bias: Tensor,
    told: Tensor,
    told_bias: Tensor,
) -> Tensor:
    layer, attention = block.layer[0], block.layer[0].SelfAttention
    asks = normed = layer.layer_norm(hidden)
    places = rows
    if only is not None:
        row = torch.arange(len(only), device=only.device)
        hidden, asks = (rows.spread(states)[row, only] for states in (hidden, normed))
        bias = bias.expand(len(only), *bias.shape[1:])[row, :, only][:, :, None]
        rows = Rows((len(only), 1), None)
    queries = split_heads(attention, rows.spread(attention.q(asks)))
    keys, values = (split_heads(attention, places.spread(project(normed))) for project in (attention.k, attention.v))
    hidden = hidden + layer.dropout(attention.o(rows.gather(attend(attention, queries, keys, values, bias))))
    layer, attention = block.layer[1], block.layer[1].EncDecAttention
    queries = split_heads(attention, rows.spread(attention.q(layer.layer_norm(hidden))))
    keys, values = (split_heads(attention, prompt_rows.spread(project(told))) for project in (attention.k, attention.v))
    seen = rows.gather(attend(attention, queries, keys, values, told_bias))
    found: Tensor = block.layer[2](hidden + layer.dropout(attention.o(seen)))
    return found


def causal(length: int, device: torch.device) -> Tensor:
    """The barrier of plain sequences, each place seeing itself and what is before: float32 [1, 1, length, length]."""
    return torch.full((length, length), -math.inf, device=device).triu(diagonal=1)[None, None]
