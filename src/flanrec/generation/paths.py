"""Many known token rows against each user's prompt in one pass, equal beginnings of a user's rows computed once.

Beam search grows its rows a token at a time and reads them as a tree (:mod:`flanrec.generation.decoder`). Where the
rows are known, as in scoring, all places go through together: layers without attention see every distinct beginning
once, and the self-attention sees plain rows, which costs far less than a tree's mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flanrec.backbone.decoder import causal
from flanrec.backbone.encoder import attend, split_heads
from flanrec.backbone.rows import Rows
from flanrec.generation.decoder import TreeDecoder

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Paths:
    """Token rows, and their distinct beginnings: the nodes.

    Attributes
    ----------
    tokens : int64[n_nodes]
        The last token of each beginning.
    users : int64[n_nodes], ascending
    nodes : int64[n_rows, longest]
        The node at each place of each row; 0 behind its end.
    places : int64[n_nodes]
        Where in the flat ``nodes`` each one stands first.

    Examples
    --------
    >>> paths = Paths.of(np.array([0, 0]), np.array([[0, 5, 6], [0, 5, -1]]))
    >>> paths.tokens.tolist(), paths.nodes.tolist()
    ([0, 5, 6], [[0, 1, 2], [0, 1, 0]])
    """

    tokens: Ints
    users: Ints
    nodes: Ints
    places: Ints

    @classmethod
    def of(cls, users: Ints, rows: Ints) -> Paths:
        """Find the beginnings that rows of one user share.

        Parameters
        ----------
        users : int64[n_rows], any order
        rows : int64[n_rows, longest], filled up with -1
        """
        order = np.lexsort((*rows.T[::-1], users))
        users, rows = users[order], rows[order]
        alike = np.zeros(rows.shape, dtype=bool)
        alike[1:] = np.logical_and.accumulate((rows[1:] == rows[:-1]) & (users[1:] == users[:-1])[:, None], axis=1)
        new = ~alike & (rows >= 0)
        row, column = np.nonzero(new)
        # Numbers rise from row to row, so that the largest so far in a column is the one of the row above.
        numbers = np.zeros(rows.shape, dtype=np.int64)
        numbers[row, column] = np.arange(len(row))
        numbers = np.where(rows >= 0, np.maximum.accumulate(numbers, axis=0), 0)
        nodes = np.empty_like(numbers)
        nodes[order] = numbers
        return cls(rows[row, column], users[row], nodes, order[row] * rows.shape[1] + column)


def path_states(ready: TreeDecoder, paths: Paths) -> Tensor:
    """Decode all nodes of some rows.

    Parameters
    ----------
    ready : TreeDecoder
        Of the prompts; what it has decoded so far does not matter.
    paths : Paths

    Returns
    -------
    Tensor [n_nodes, d_model]
        What goes into :class:`Head`: normalised and, where the checkpoint wants it, scaled.
    """
    device = ready.source_mask.device
    nodes, places, tokens = (torch.as_tensor(one, device=device) for one in (paths.nodes, paths.places, paths.tokens))
    counts = np.bincount(paths.users, minlength=len(ready.source_mask))
    by_user = Rows.of_counts(counts, int(counts.max(initial=0)), device)
    stack = ready.model.get_decoder()
    hidden: Tensor = stack.embed_tokens(tokens)
    longest = nodes.shape[1]
    bias = causal(longest, device)
    for number, block in enumerate(stack.block):
        layer = block.layer[0]
        attention = layer.SelfAttention
        if attention.has_relative_attention_bias:
            bias = attention.compute_bias(longest, longest) + causal(longest, device)
        normed = layer.layer_norm(hidden)
        queries, keys, values = (
            split_heads(attention, project(normed)[nodes]) for project in (attention.q, attention.k, attention.v)
        )
        seen = attend(attention, queries, keys, values, bias)
        hidden = ready.told(number, hidden + attention.o(seen.flatten(0, 1)[places]), by_user)
    return ready.scaled(stack.final_layer_norm(hidden))
