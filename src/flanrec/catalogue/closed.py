"""Which parts of a title trie a user may not enter, and how likely the others are before any model has spoken."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.trie import Children, TitleTrie

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class ClosedRows:
    """Which rows of a tree are closed to which users because all their items are excluded.

    Parameters
    ----------
    trie : TitleTrie
    excluded : one collection of catalogue indices a user
        Items that must not come out, such as those a user has seen.
    """

    def __init__(self, trie: TitleTrie, excluded: Sequence[Collection[int]]) -> None:
        users = np.repeat(np.arange(len(excluded)), [len(items) for items in excluded]).astype(np.int64)
        items = np.fromiter((item for each in excluded for item in each), dtype=np.int64, count=len(users))
        rows = trie.rows_of(items)
        users, items, rows = users[rows >= 0], items[rows >= 0], rows[rows >= 0]
        self._trie = trie
        self._row_span = len(trie) + 1
        self._item_span = int(trie.leaf_items.max(initial=0)) + 1
        self._items, first = np.unique(users * self._item_span + items, return_index=True)
        keys = (users * self._row_span + rows)[first]
        order = np.argsort(keys, kind="stable")
        self._touched = keys[order]
        self._weight = np.append(0.0, np.cumsum(trie.weights_of(items[first][order])))
        keys, counts = np.unique(keys, return_counts=True)
        self._rows = keys[counts == np.diff(trie.leaf_offsets)[keys % self._row_span]]

    def all_closed(self, users: Ints, low: Ints, high: Ints) -> NDArray[np.bool_]:
        """Whether every row of ``[low, high)`` is closed to the user: bool[n_nodes]."""
        first = np.searchsorted(self._rows, users * self._row_span + low)
        last = np.searchsorted(self._rows, users * self._row_span + high)
        return np.asarray(last - first == high - low)

    def log_priors(self, users: Ints, children: Children) -> Floats:
        """The log of each child's weight without the user's excluded items: float64[n_children].

        -inf where all of its items are excluded; else zeros for a tree without weights.
        """
        closed = self.all_closed(users, children.low, children.high)
        if self._trie.weights is None:
            return np.where(closed, -np.inf, 0.0)
        left = self._trie.mass(children.low, children.high) - self._excluded_mass(users, children.low, children.high)
        return np.where(closed, -np.inf, np.log(np.where(closed, 1.0, np.maximum(left, np.finfo(float).tiny))))

    def log_shares(self, users: Ints, items: Ints) -> Floats:
        """The log of each open item's share of its row's open weight; zeros for a tree without weights."""
        if self._trie.weights is None:
            return np.zeros(len(items))
        rows = self._trie.rows_of(items)
        left = self._trie.mass(rows, rows + 1) - self._excluded_mass(users, rows, rows + 1)
        weights = self._trie.weights_of(items)
        return np.asarray(np.log(weights) - np.log(np.maximum(left, weights)))

    def _excluded_mass(self, users: Ints, low: Ints, high: Ints) -> Floats:
        first = np.searchsorted(self._touched, users * self._row_span + low)
        last = np.searchsorted(self._touched, users * self._row_span + high)
        return np.asarray(self._weight[last] - self._weight[first])

    def excluded(self, users: Ints, items: Ints) -> NDArray[np.bool_]:
        """Whether an item of the tree is excluded for a user: bool[n_pairs]."""
        return np.isin(users * self._item_span + items, self._items)
