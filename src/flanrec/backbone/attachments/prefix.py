"""Prefix tuning: trained keys and values before those of every attention, in the encoder and in the decoder.

Li and Liang, "Prefix-tuning: optimizing continuous prompts for generation", 2021. Encoder, decoder and the attention
between them each have their own. A network makes the keys and values in training; afterwards they are kept alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Prefix(nn.Module):
    """Keys and values that one attention sees before all others.

    Parameters
    ----------
    keys, values
        [heads, length, d_kv] each.
    hidden
        Width of the network that adds to them in training; 0 trains them as they are.
    """

    def __init__(self, keys: Tensor, values: Tensor, hidden: int = 0) -> None:
        super().__init__()
        self.pairs = nn.Parameter(torch.stack([keys, values]).detach().clone().float())
        self.network: nn.Module | None = None
        if hidden:
            heads, length, width = keys.shape
            last = nn.Linear(hidden, 2 * heads * width)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.seeds = nn.Parameter(torch.randn(length, hidden, device=keys.device))
            self.network = nn.Sequential(nn.Linear(hidden, hidden), nn.Tanh(), last).to(keys.device)

    @property
    def length(self) -> int:
        """How many places it takes."""
        return int(self.pairs.shape[2])

    def forward(self) -> Tensor:
        """Keys and values: [2, heads, length, d_kv]."""
        if self.network is None:
            return self.pairs
        _, heads, length, width = self.pairs.shape
        made: Tensor = self.pairs + self.network(self.seeds).view(length, 2, heads, width).permute(1, 2, 0, 3)
        return made

    def before(self, keys: Tensor, values: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Put the prefix before an attention's keys and values, seen by every place; see `attend`.

        Parameters
        ----------
        keys, values : [n, heads, seen, d_kv]
        bias : broadcast to [n, heads, length, seen]
        """
        own_keys, own_values = self().to(keys.dtype)[:, None].expand(2, len(keys), -1, -1, -1)
        return (
            torch.cat([own_keys, keys], dim=2),
            torch.cat([own_values, values], dim=2),
            functional.pad(bias, (self.length, 0)),
        )

    @torch.no_grad()
    def settled(self) -> Prefix:
        """The same keys and values without the network."""
        return Prefix(*self())


def attentions(model: Any) -> Iterator[Any]:
    """Every attention of a T5: the encoder's, the decoder's to itself, and the decoder's to the prompt."""
    for stack in (model.get_encoder(), model.get_decoder()):
        for block in stack.block:
            yield block.layer[0].SelfAttention
            if stack.is_decoder:
                yield block.layer[1].EncDecAttention


def starting_pair(attention: Any, length: int) -> tuple[Tensor, Tensor]:
    """Keys and values to begin with, as of places that say nothing: keys small, values zero."""
    weight = attention.k.weight
    shape = (attention.n_heads, length, attention.key_value_proj_dim)
    keys = torch.randn(shape) / math.sqrt(attention.key_value_proj_dim)
    return keys.to(weight.device), torch.zeros(shape, device=weight.device)
