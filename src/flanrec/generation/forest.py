"""From lists of token rows to the node arrays that :class:`TreeDecoder` takes, equal beginnings merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flanrec.generation.decoder import ROOT

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Forest:
    """New nodes for every user, short users filled up.

    Attributes
    ----------
    tokens, parents : int64[n_users, n]
        Ready for :meth:`TreeDecoder.extend`.
    counts : int64[n_users]
        How many of a user's nodes are no fillers.
    paths : for each user, for each row, the position of each token of the row among the user's new nodes
    """

    tokens: Ints
    parents: Ints
    counts: Ints
    paths: list[list[list[int]]]

    def flat(self, user: int, row: int) -> Ints:
        """A row's nodes as positions in the flattened ``[n_users * n]`` states."""
        positions: Ints = np.asarray(self.paths[user][row], dtype=np.int64) + user * self.tokens.shape[1]
        return positions


def plant(
    rows: Sequence[Sequence[Sequence[int]]], under: Sequence[Sequence[int]] | None = None, before: int = 0
) -> Forest:
    """Lay out the rows of each user as a tree.

    Parameters
    ----------
    rows : for each user, token rows
    under : for each user and row, the decoded node that the row hangs from, optional
        By default none: the rows start the decoder.
    before : int
        How many nodes the decoder has already.

    Examples
    --------
    >>> forest = plant([[[0, 5, 6], [0, 5, 7]]])
    >>> forest.tokens.tolist(), forest.parents.tolist(), forest.paths
    ([[0, 5, 6, 7]], [[-1, 0, 1, 1]], [[[0, 1, 2], [0, 1, 3]]])
    """
    tokens: list[list[int]] = []
    parents: list[list[int]] = []
    paths: list[list[list[int]]] = []
    for user, user_rows in enumerate(rows):
        known: dict[tuple[int, int], int] = {}
        user_tokens: list[int] = []
        user_parents: list[int] = []
        user_paths: list[list[int]] = []
        for number, row in enumerate(user_rows):
            parent = ROOT if under is None else under[user][number]
            path = []
            for token in row:
                node = known.setdefault((parent, token), len(user_tokens))
                if node == len(user_tokens):
                    user_tokens.append(token)
                    user_parents.append(parent)
                path.append(node)
                parent = before + node
            user_paths.append(path)
        tokens.append(user_tokens)
        parents.append(user_parents)
        paths.append(user_paths)
    counts = np.array([len(row) for row in tokens], dtype=np.int64)
    width = int(counts.max(initial=0))
    return Forest(_filled(tokens, width, 0), _filled(parents, width, ROOT), counts, paths)


def _filled(rows: list[list[int]], width: int, value: int) -> Ints:
    filled = np.full((len(rows), width), value, dtype=np.int64)
    for number, row in enumerate(rows):
        filled[number, : len(row)] = row
    return filled
