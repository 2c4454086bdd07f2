"""A T5 encoder that spends nothing on padding, with the layers of ``transformers``."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from flanrec.generation.rows import Rows


def encoder_states(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """What the encoder makes of each token, as ``model.get_encoder()`` has it in evaluation mode.

    Prompts of one batch differ in length; all layers but the attention itself run over the real tokens alone.

    Parameters
    ----------
    model : T5ForConditionalGeneration or a relative of it, in evaluation mode
    ids : int64[n, longest]
    mask : [n, longest], 1 where there is a token

    Returns
    -------
    Tensor [n, longest, d_model]
        Zeros where there is no token.
    """
    stack = model.get_encoder()
    rows = Rows.of_mask(mask)
    hidden: Tensor = rows.gather(stack.embed_tokens(ids))
    hidden_from = (mask == 0)[:, None, None, :]
    bias: Tensor | None = None
    for block in stack.block:
        layer = block.layer[0]
        attention = layer.SelfAttention
        if attention.has_relative_attention_bias:
            positions = attention.compute_bias(ids.shape[1], ids.shape[1]).to(hidden.dtype)
            bias = positions.expand(len(ids), -1, -1, -1).masked_fill(hidden_from, -math.inf)
        normed = layer.layer_norm(hidden)
        queries, keys, values = (
            split_heads(attention, rows.spread(project(normed))) for project in (attention.q, attention.k, attention.v)
        )
        # T5 does not divide by the root of d_kv.
        attended = scaled_dot_product_attention(queries, keys, values, attn_mask=bias, scale=1.0)
        hidden = hidden + attention.o(rows.gather(attended.transpose(1, 2).flatten(2)))
        hidden = block.layer[1](hidden)
    return rows.spread(stack.final_layer_norm(hidden))


def split_heads(attention: Any, states: Tensor) -> Tensor:
    """[n, length, heads * d_kv] to [n, heads, length, d_kv]."""
    return states.view(*states.shape[:2], -1, attention.key_value_proj_dim).transpose(1, 2)
