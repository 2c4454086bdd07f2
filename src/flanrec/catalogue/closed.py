"""Which parts of a title trie a user may not enter."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.trie import TitleTrie

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
        self._row_span = len(trie) + 1
        self._item_span = int(trie.leaf_items.max(initial=0)) + 1
        self._items, first = np.unique(users * self._item_span + items, return_index=True)
        keys, counts = np.unique((users * self._row_span + rows)[first], return_counts=True)
        self._rows = keys[counts == np.diff(trie.leaf_offsets)[keys % self._row_span]]

    def all_closed(self, users: Ints, low: Ints, high: Ints) -> NDArray[np.bool_]:
        """Whether every row of ``[low, high)`` is closed to the user: bool[n_nodes]."""
        first = np.searchsorted(self._rows, users * self._row_span + low)
        last = np.searchsorted(self._rows, users * self._row_span + high)
        return np.asarray(last - first == high - low)

    def excluded(self, users: Ints, items: Ints) -> NDArray[np.bool_]:
        """Whether an item of the tree is excluded for a user: bool[n_pairs]."""
        return np.isin(users * self._item_span + items, self._items)
