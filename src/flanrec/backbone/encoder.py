"""The T5 encoder over real tokens alone, and the attention that it shares with the decoders."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from flanrec.backbone.dropout import drop
from flanrec.backbone.perturbation import perturbed
from flanrec.backbone.rows import Rows


def encoder_states(model: Any, ids: Tensor, mask: Tensor, depth: float = 1.0) -> tuple[Tensor, Tensor]:
    """What the encoder makes of each token, as ``model.get_encoder()`` has it, in training and in use.

    Prompts of one batch differ in length; all layers but the attention itself run over the real tokens alone.

    Parameters
    ----------
    model : T5ForConditionalGeneration or a relative of it
    ids : int64[n, longest]
    mask : [n, longest], 1 where there is a token
    depth : float
        How far up, as a share of the blocks. Only the whole way ends in the final norm.

    Returns
    -------
    states : Tensor [n, places, d_model]
        Zeros where there is no token. The places of a soft prompt, if the model carries one, come before the tokens.
    mask : int64[n, places]
        The one given, with ones for the soft prompt.
    """
    return stack_states(model.get_encoder(), ids, mask, depth)


def stack_states(stack: Any, ids: Tensor, mask: Tensor, depth: float = 1.0) -> tuple[Tensor, Tensor]:
    """The same of an encoder by itself."""
    hidden, rows, mask = _embedded(stack, ids, mask)
    hidden = stack.dropout(perturbed(stack, hidden, rows))
    hidden_from = (mask == 0)[:, None, None, :]
    bias: Tensor | None = None
    chosen = stack.block[: round(depth * len(stack.block))]
    for block in chosen:
        attention = block.layer[0].SelfAttention
        if attention.has_relative_attention_bias:
            positions = attention.compute_bias(mask.shape[1], mask.shape[1])
            bias = positions.expand(len(mask), -1, -1, -1).masked_fill(hidden_from, -math.inf)
        hidden = through(stack, partial(_block, block, rows), hidden, bias)
    if len(chosen) < len(stack.block):
        return rows.spread(hidden), mask
    return rows.spread(stack.dropout(stack.final_layer_norm(hidden))), mask


def soft_prompt_length(model: Any) -> int:
    """Places that a model's soft prompt takes before the tokens; 0 where it carries none."""
    prompt = getattr(model.get_encoder(), "soft_prompt", None)
    return 0 if prompt is None else int(prompt.length)


def _embedded(stack: Any, ids: Tensor, mask: Tensor) -> tuple[Tensor, Rows, Tensor]:
    """The embeddings of the real tokens [n_tokens, d_model], where they stand, and the mask; a soft prompt included."""
    prompt = getattr(stack, "soft_prompt", None)
    if prompt is None:
        rows = Rows.of_mask(mask)
        embedded: Tensor = stack.embed_tokens(rows.gather(ids))
        return embedded, rows, mask
    before = (len(ids), prompt.length)
    mask = torch.cat([mask.new_ones(before), mask], dim=1)
    rows = Rows.of_mask(mask)
    tokens = stack.embed_tokens(rows.gather(torch.cat([ids.new_zeros(before), ids], dim=1)))
    places = rows.gather(torch.arange(mask.shape[1], device=ids.device).expand_as(mask).contiguous())
    own = prompt().to(tokens.dtype)[places.clamp(max=prompt.length - 1)]
    return torch.where((places < prompt.length)[:, None], own, tokens), rows, mask


def _block(block: Any, rows: Rows, hidden: Tensor, bias: Tensor) -> Tensor:
    layer = block.layer[0]
    attention = layer.SelfAttention
    normed = layer.layer_norm(hidden)
    queries, keys, values = (
        split_heads(attention, rows.spread(project(normed))) for project in (attention.q, attention.k, attention.v)
    )
    hidden = hidden + layer.dropout(attention.o(rows.gather(attend(attention, queries, keys, values, bias))))
    found: Tensor = block.layer[1](hidden)
    return found


def recompute_blocks(model: Any, on: bool) -> None:
    """Choose activation checkpointing: keep each block's input alone, and compute the rest again for the gradient.

    Memory then hardly grows with the number of blocks, and a step takes about a third longer.
    """
    for stack in (model.get_encoder(), model.get_decoder()):
        stack.recompute_blocks = on


def through(stack: Any, run: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
    """A block's output; in training what it went through is forgotten, where `recompute_blocks` says so."""
    if stack.training and getattr(stack, "recompute_blocks", False):
        found: Tensor = checkpoint(run, *inputs, use_reentrant=False)
        return found
    return run(*inputs)


def split_heads(attention: Any, states: Tensor) -> Tensor:
    """[n, length, heads * d_kv] to [n, heads, length, d_kv]."""
    return states.view(*states.shape[:2], -1, attention.key_value_proj_dim).transpose(1, 2)


def attend(attention: Any, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """T5's attention, which does not divide by the root of d_kv.

    Parameters
    ----------
    attention : T5Attention or a relative of it
        For its dropout, and for the prefix that it may carry.
    queries : [n, heads, length, d_kv]
    keys, values : [n, heads, seen, d_kv]
    bias : broadcast to [n, heads, length, seen]
        Added to the scores: positions, and -inf where nothing is seen. No row may see nothing.

    Returns
    -------
    Tensor [n, length, heads * d_kv]
    """
    prefix = getattr(attention, "prefix", None)
    if prefix is not None:
        keys, values, bias = prefix.before(keys, values, bias)
    if attention.training and attention.dropout > 0:
        weights = torch.softmax((queries @ keys.transpose(2, 3)).float() + bias, dim=-1).to(values.dtype)
        found = drop(weights, attention.dropout, training=True) @ values
    else:
        found = scaled_dot_product_attention(queries, keys, values, attn_mask=bias.to(queries.dtype), scale=1.0)
    return found.transpose(1, 2).flatten(2)
