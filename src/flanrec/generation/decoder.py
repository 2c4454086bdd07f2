"""A T5 decoder that reads trees of tokens, with the attention to the prompt shared by all of a user's nodes.

Beam search and scoring decode many texts against one prompt. Written as sequences, each text would
carry its own copy of the prompt's keys and values and of its own past. Written as a tree, a user's
nodes share both: every node attends to its ancestors only, by a mask, so beams are never copied or
reordered, equal prefixes are computed once, and many texts go through in one pass.

The layers themselves are those of ``transformers``; only the attention is arranged here. That covers
T5 1.0 and 1.1, Flan-T5, mT5, umT5 and LoRA-wrapped projections, in evaluation mode.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flanrec.backbone.encoder import attend, split_heads
from flanrec.backbone.rows import Rows

Ints = NDArray[np.int64]

ROOT = -1
"""The parent of a user's first node."""


@dataclass
class TreeDecoder:
    """The decoder's state for a batch of users.

    Attributes
    ----------
    cross : per layer (keys, values), each [n_users, heads, source, d_kv]
        Of the prompt, computed once a user.
    source_mask : [n_users, 1, 1, source]
        0 where the prompt has a token, -inf where it is padded.
    past : per layer (keys, values), each [n_users, heads, capacity, d_kv]
        Of the nodes decoded so far.
    visible : bool[n_users, n_nodes, n_nodes]
        Whether a node attends to another: its ancestors and itself.
    depths : int64[n_users, n_nodes]
    """

    model: Any
    cross: list[tuple[Tensor, Tensor]]
    source_mask: Tensor
    past: list[tuple[Tensor, Tensor]]
    visible: NDArray[np.bool_]
    depths: Ints

    @classmethod
    def start(cls, model: Any, encoder_hidden: Tensor, encoder_mask: Tensor) -> TreeDecoder:
        """Prepare to decode against prompts.

        Parameters
        ----------
        model : T5ForConditionalGeneration or a relative of it, in evaluation mode
        encoder_hidden : [n_users, source, d_model]
        encoder_mask : [n_users, source], 1 where there is a token
        """
        n_users = len(encoder_hidden)
        rows = Rows.of_mask(encoder_mask)
        said = rows.gather(encoder_hidden)
        cross = []
        past = []
        for block in model.get_decoder().block:
            attention = block.layer[1].EncDecAttention
            keys, values = (
                split_heads(attention, rows.spread(project(said))).contiguous()
                for project in (attention.k, attention.v)
            )
            cross.append((keys, values))
            empty = keys.new_empty(n_users, keys.shape[1], 0, keys.shape[3])
            past.append((empty, empty))
        mask = torch.zeros_like(encoder_mask, dtype=encoder_hidden.dtype).masked_fill(encoder_mask == 0, -math.inf)
        nothing = np.zeros((n_users, 0, 0), dtype=bool)
        return cls(model, cross, mask[:, None, None, :], past, nothing, np.zeros((n_users, 0), dtype=np.int64))

    @property
    def n_nodes(self) -> int:
        """How many nodes each user has so far."""
        return int(self.visible.shape[1])

    def select(self, users: Ints) -> TreeDecoder:
        """The state of some of the users, in this order; the original stays as it is."""
        index = torch.as_tensor(users, device=self.source_mask.device)
        return replace(
            self,
            cross=[(keys[index], values[index]) for keys, values in self.cross],
            source_mask=self.source_mask[index],
            past=[(keys[index], values[index]) for keys, values in self.past],
            visible=self.visible[users],
            depths=self.depths[users],
        )

    def extend(self, tokens: Ints, parents: Ints, counts: Ints | None = None) -> Tensor:
        """Decode further nodes of every user.

        Parameters
        ----------
        tokens : int64[n_users, n]
            The token of each new node.
        parents : int64[n_users, n]
            The number of each new node's parent, counted over all nodes of the user in the order they
            were added, -1 for none. A parent comes before its children, in this call or an earlier one.
        counts : int64[n_users], optional
            How many nodes of each row are real; the rest fills it up, may have any parent, and costs little.
            By default all are.

        Returns
        -------
        Tensor [n_users, n, d_model]
            What goes into :class:`Head`: normalised and, where the checkpoint wants it, scaled. Zeros for fillers.
        """
        before = self.n_nodes
        self._grow(parents)
        stack = self.model.get_decoder()
        counts = np.full(len(tokens), tokens.shape[1]) if counts is None else counts
        rows = Rows.of_counts(counts, tokens.shape[1], self.source_mask.device)
        hidden: Tensor = stack.embed_tokens(rows.gather(torch.as_tensor(tokens, device=self.source_mask.device)))
        bias: Tensor | None = None
        for number, block in enumerate(stack.block):
            layer = block.layer[0]
            attention = layer.SelfAttention
            if attention.has_relative_attention_bias:
                bias = self._bias(attention, before).to(hidden.dtype)
            assert bias is not None
            normed = layer.layer_norm(hidden)
            queries, new_keys, new_values = (
                split_heads(attention, rows.spread(project(normed)))
                for project in (attention.q, attention.k, attention.v)
            )
            keys, values = self._append(number, new_keys, new_values)
            hidden = hidden + attention.o(rows.gather(attend(attention, queries, keys, values, bias)))
            hidden = self.told(number, hidden, rows)
        return self.scaled(rows.spread(stack.final_layer_norm(hidden)))

    def told(self, number: int, hidden: Tensor, rows: Rows) -> Tensor:
        """The rest of a block after its self-attention: the attention to the prompt, and the dense layers.

        Parameters
        ----------
        number : int
            Of the block.
        hidden : [n_tokens, d_model]
        rows : Rows
            Where the tokens stand in the rectangle [n_users, n].
        """
        block = self.model.get_decoder().block[number]
        layer = block.layer[1]
        attention = layer.EncDecAttention
        queries = split_heads(attention, rows.spread(attention.q(layer.layer_norm(hidden))))
        found = attend(attention, queries, *self.cross[number], self.source_mask)
        states: Tensor = block.layer[2](hidden + attention.o(rows.gather(found)))
        return states

    def scaled(self, states: Tensor) -> Tensor:
        """Decoder states as the head wants them; mT5 has no such flag, and never scales."""
        scaled = getattr(self.model.config, "scale_decoder_outputs", False)
        return states * self.model.config.d_model**-0.5 if scaled else states

    def _grow(self, parents: Ints) -> None:
        """Give the new nodes their depth and their ancestors."""
        users = np.arange(len(parents))
        before, n_nodes = self.n_nodes, self.n_nodes + parents.shape[1]
        visible = np.zeros((len(parents), n_nodes, n_nodes), dtype=bool)
        visible[:, :before, :before] = self.visible
        depths = np.zeros((len(parents), n_nodes), dtype=np.int64)
        depths[:, :before] = self.depths
        for node, parent in enumerate(parents.T, start=before):
            has_parent = (parent >= 0)[:, None]
            visible[:, node] = visible[users, parent] & has_parent
            visible[:, node, node] = True
            depths[:, node] = np.where(has_parent[:, 0], depths[users, parent] + 1, 0)
        self.visible, self.depths = visible, depths

    def _bias(self, attention: Any, before: int) -> Tensor:
        """Relative position bias plus mask of the nodes from ``before`` on: [n_users, heads, n, n_nodes]."""
        distance = np.maximum(self.depths[:, before:, None] - self.depths[:, None, :], 0)
        per_distance = attention.relative_attention_bias(
            distance_buckets(
                int(distance.max(initial=0)) + 1,
                attention.relative_attention_num_buckets,
                attention.relative_attention_max_distance,
            ).to(self.source_mask.device)
        )
        hidden_from = torch.as_tensor(~self.visible[:, before:], device=self.source_mask.device)
        bias: Tensor = per_distance[torch.as_tensor(distance, device=self.source_mask.device)]
        return bias.masked_fill(hidden_from[..., None], -math.inf).permute(0, 3, 1, 2)

    def _append(self, number: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put a layer's new keys and values behind its past ones, doubling the room when it is full."""
        after = self.n_nodes
        before = after - keys.shape[2]
        if self.past[number][0].shape[2] < after:
            room = keys.new_empty(2, *keys.shape[:2], max(2 * before, after), keys.shape[3])
            for side in (0, 1):
                room[side, :, :, :before] = self.past[number][side][:, :, :before]
            self.past[number] = (room[0], room[1])
        all_keys, all_values = self.past[number]
        all_keys[:, :, before:after] = keys
        all_values[:, :, before:after] = values
        return all_keys[:, :, :after], all_values[:, :, :after]


def distance_buckets(length: int, num_buckets: int, max_distance: int) -> Tensor:
    """The relative position bucket of a token 0, 1, ... ``length - 1`` places back: int64[length].

    T5's causal rule: half of the buckets are exact, the rest grow logarithmically to ``max_distance``.
    """
    distance = torch.arange(length)
    exact = num_buckets // 2
    far = torch.log(distance.float().clamp(min=1) / exact) / math.log(max_distance / exact) * (num_buckets - exact)
    return torch.where(distance < exact, distance, (exact + far.long()).clamp(max=num_buckets - 1))
