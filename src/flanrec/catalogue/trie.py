"""The titles of a catalogue as a prefix tree, stored as sorted token rows.

Sorting puts all titles with a common prefix next to each other, so a node of the tree is a range
``[low, high)`` of rows at a depth. Beside the tokens stands how many of them each row shares with the row
above: a node's children begin where that is no more than its depth. No node objects exist: flat arrays hold
any catalogue, can be memory-mapped, and take in or let go of items without being sorted again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.arrays import load_arrays, save_arrays
from flanrec.catalogue.token_rows import SHARED, Ints, TokenRows
from flanrec.errors import CheckpointError, DataError

Floats = NDArray[np.float64]

_SCANNED = 512
"""Rows of a node from which on it is scanned by itself instead of beside others."""


class Children(NamedTuple):
    """The children of several nodes, flat: entry j is a child of ``parent[j]``.

    All arrays have one entry a child, int64, ordered by parent and then by token. ``parent`` is the
    position of the parent in the arrays that were asked about; ``[low, high)`` is the child's range.
    """

    parent: Ints
    token: Ints
    low: Ints
    high: Ints


@dataclass(frozen=True, eq=False)
class TitleTrie:
    """A prefix tree over token rows that end in ``eos``.

    Attributes
    ----------
    rows : TokenRows
        The distinct token rows in lexicographic order.
    shared : uint16[n_rows]
        Leading tokens that each row has in common with the row above; 0 for the first.
    leaf_offsets : int64[n_rows + 1]
        Row r stands for the items ``leaf_items[leaf_offsets[r]:leaf_offsets[r + 1]]``.
    leaf_items : int64[n_items]
        Catalogue indices, ascending within a row. Items with identical rows share a leaf.
    eos : int
        The end-of-sequence token. Because every row ends in it, no row is a proper prefix of another.
    weights : float64[largest item + 1], optional
        Of each item, positive, such as its events; an item beyond the end weighs 1. They give every node
        a share of its parent's weight, the prior of a branch before any model has spoken.

    Examples
    --------
    >>> trie = TitleTrie.build([[5, 1], [5, 6, 1], [7, 1]])
    >>> children = trie.children([0], [3], depth=0)
    >>> children.token.tolist(), children.low.tolist(), children.high.tolist()
    ([5, 7], [0, 2], [2, 3])
    """

    rows: TokenRows
    shared: NDArray[np.uint16]
    leaf_offsets: Ints
    leaf_items: Ints
    eos: int = 1
    weights: Floats | None = None

    @classmethod
    def build(
        cls,
        rows: Sequence[Sequence[int]],
        items: Sequence[int] | Ints | None = None,
        eos: int = 1,
        weights: Floats | None = None,
    ) -> TitleTrie:
        """Build the tree from one token row an item.

        Parameters
        ----------
        rows : sequence of token rows
            Each non-empty, ending in ``eos`` and holding it nowhere else. No rows make an empty tree.
        items : n_rows catalogue indices, optional
            The item of each row; by default its position.
        eos : int
            The end-of-sequence token.
        weights : float64[largest item + 1], optional
            Of each item, by catalogue index.

        Raises
        ------
        DataError
            If a row is empty, does not end in ``eos``, or holds ``eos`` or a negative token earlier; or
            if a weight is not positive.
        """
        index = np.arange(len(rows), dtype=np.int64) if items is None else np.asarray(items, dtype=np.int64)
        if len(index) != len(rows):
            raise DataError(f"a trie was given {len(rows)} token rows but {len(index)} item indices; give one an item")
        given = TokenRows.of(rows)
        malformed = given.first_malformed(eos)
        if malformed is not None:
            raise DataError(
                f"token row {malformed} (item {index[malformed]}) is {list(rows[malformed])!r}: a row must hold at "
                f"least one token, none negative, and end in the end-of-sequence token {eos}, which stands nowhere else"
            )
        if weights is not None and not (np.isfinite(weights).all() and (weights > 0).all()):
            raise DataError("the weights of a trie's items must be finite and above zero; add one to counts")
        by_item = np.argsort(index, kind="stable")
        order, shared, repeated = given.take(by_item).sorted_order(eos)
        order = by_item[order]
        first = np.flatnonzero(~repeated)
        offsets = np.append(first, len(order)).astype(np.int64)
        return cls(given.take(order[first]), shared[first], offsets, index[order], eos, weights)

    def __len__(self) -> int:
        """The number of distinct token rows, which is at most the number of items."""
        return len(self.rows)

    @property
    def lengths(self) -> Ints:
        """Tokens in each row, the closing ``eos`` included: int64[n_rows]."""
        return self.rows.lengths

    @cached_property
    def used_tokens(self) -> Ints:
        """All tokens that occur in a row, ascending and distinct."""
        return np.unique(self.rows.tokens).astype(np.int64)

    def children(self, low: Sequence[int] | Ints, high: Sequence[int] | Ints, depth: int) -> Children:
        """The allowed next tokens of several nodes at one depth.

        Parameters
        ----------
        low, high : int64[n_nodes]
            The row ranges of the nodes, each agreeing in its first ``depth`` tokens and not yet ended.
        depth : int
            How many tokens were already decoded; 0 is the root.
        """
        low, high = np.asarray(low, dtype=np.int64), np.asarray(high, dtype=np.int64)
        # Users meet in the nodes near the root, which are the large ones.
        nodes, asked = np.unique(low * (len(self) + 1) + high, return_inverse=True)
        lows, highs = np.divmod(nodes, len(self) + 1)
        node, child = self._begin(lows, highs, depth)
        ends = np.append(child[1:], 0)
        last = np.append(node[1:] != node[:-1], True)[: len(node)]
        ends[last] = highs[node[last]]
        counts = np.bincount(node, minlength=len(nodes))
        first = np.cumsum(counts) - counts
        parent = np.repeat(np.arange(len(asked)), counts[asked])
        within = np.arange(len(parent)) - np.repeat(np.cumsum(counts[asked]) - counts[asked], counts[asked])
        at = first[asked][parent] + within
        return Children(parent, self.rows.at(child, depth)[at], child[at], ends[at])

    def _begin(self, low: Ints, high: Ints, depth: int) -> tuple[Ints, Ints]:
        """Where the children of distinct nodes begin: (node, row) of each, ordered by node and row."""
        large = high - low >= _SCANNED
        small = np.flatnonzero(~large)
        counts = (high - low)[small]
        owner = np.repeat(small, counts)
        row = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts) + low[owner]
        begins = (row == low[owner]) | (self.shared[row] <= depth)
        nodes, rows = [owner[begins]], [row[begins]]
        for node in np.flatnonzero(large).tolist():
            found = np.flatnonzero(self.shared[low[node] + 1 : high[node]] <= depth) + low[node] + 1
            rows.append(np.append(low[node], found))
            nodes.append(np.full(len(found) + 1, node))
        owner, row = np.concatenate(nodes), np.concatenate(rows)
        order = np.argsort(owner, kind="stable")
        return owner[order], row[order]

    @cached_property
    def _known_weights(self) -> Floats:
        """The weight of every item by catalogue index."""
        given = np.zeros(0) if self.weights is None else self.weights
        return np.append(given, np.ones(max(0, int(self.leaf_items.max(initial=-1)) + 1 - len(given))))

    @cached_property
    def _mass(self) -> Floats:
        """The weight of all rows before each row: float64[n_rows + 1]."""
        return np.append(0.0, np.cumsum(self._known_weights[self.leaf_items]))[self.leaf_offsets]

    def weights_of(self, items: Ints) -> Floats:
        """The weight of each held item: ones for a tree without weights."""
        return self._known_weights[items]

    def mass(self, low: Ints, high: Ints) -> Floats:
        """The weight of all items of each range of rows ``[low, high)``."""
        return np.asarray(self._mass[high] - self._mass[low])

    @cached_property
    def _starts(self) -> dict[int, Ints]:
        """For each depth that was asked for, the rows where its nodes begin."""
        return {}

    def ranges(self, rows: Ints, depth: int) -> tuple[Ints, Ints]:
        """The range ``[low, high)`` of the node that each row passes after ``depth`` tokens."""
        if depth == 0:
            return np.zeros(len(rows), dtype=np.int64), np.full(len(rows), len(self), dtype=np.int64)
        if depth not in self._starts:
            self._starts[depth] = np.append(np.flatnonzero(self.shared < depth), len(self)).astype(np.int64)
        starts = self._starts[depth]
        position = np.searchsorted(starts, rows, side="right")
        return starts[position - 1], starts[position]

    @cached_property
    def fork_depths(self) -> Ints:
        """How many tokens tell each row from all others: int64[n_rows]; the rest of the row is certain."""
        if len(self) < 2:
            return np.zeros(len(self), dtype=np.int64)
        above = self.shared.astype(np.int64)
        return np.asarray(np.maximum(above, np.append(above[1:], 0)) + 1)

    def items_of(self, rows: Ints) -> tuple[Ints, Ints]:
        """The items that several rows stand for, as (position in ``rows``, item), both flat."""
        counts = self.leaf_offsets[rows + 1] - self.leaf_offsets[rows]
        position = np.repeat(np.arange(len(rows)), counts)
        within = np.arange(len(position)) - np.repeat(np.cumsum(counts) - counts, counts)
        return position, self.leaf_items[self.leaf_offsets[rows][position] + within]

    @cached_property
    def _row_of_item(self) -> NDArray[np.int32]:
        rows = np.full(self.leaf_items.max(initial=-1) + 1, -1, dtype=np.int32)
        rows[self.leaf_items] = self._rows_of_leaves()
        return rows

    def _rows_of_leaves(self) -> Ints:
        """The row of each entry of ``leaf_items``."""
        return np.repeat(np.arange(len(self)), np.diff(self.leaf_offsets))

    def rows_of(self, items: Sequence[int] | Ints) -> Ints:
        """The row of each item, or -1 for an item that the tree does not hold."""
        wanted = np.asarray(items, dtype=np.int64)
        known = (wanted >= 0) & (wanted < len(self._row_of_item))
        rows = np.full(len(wanted), -1, dtype=np.int64)
        rows[known] = self._row_of_item[wanted[known]]
        return rows

    def tokens_of(self, row: int) -> list[int]:
        """The tokens of one row, ``eos`` included."""
        return self.rows[row]

    def add(self, rows: Sequence[Sequence[int]], items: Sequence[int]) -> TitleTrie:
        """A new tree that holds further items; an item already held takes its new row.

        The rows that are there are copied, not sorted: a thousand items more take a small share of building.
        """
        new = TitleTrie.build(rows, items, self.eos)
        old = self.remove(items)
        place, equal = old.rows.places_of(new.rows)
        added = np.flatnonzero(~equal)
        merged = old.rows.insert(place[added], new.rows.take(added))
        # Old rows move down by what was put before them; a row that was there already stays where it is.
        old_row = np.arange(len(old)) + np.searchsorted(place[added], np.arange(len(old)), side="right")
        new_row = np.empty(len(new), dtype=np.int64)
        new_row[added] = place[added] + np.arange(len(added))
        new_row[equal] = old_row[place[equal]]
        shared = np.zeros(len(merged), dtype=SHARED)
        shared[old_row] = old.shared
        changed = np.unique(np.concatenate([new_row[added], new_row[added] + 1]))
        changed = changed[(changed > 0) & (changed < len(merged))]
        shared[changed] = merged.common(changed - 1, changed)
        shared[:1] = 0
        span = int(max(old.leaf_items.max(initial=0), new.leaf_items.max(initial=0))) + 1
        keys = old_row[old._rows_of_leaves()] * span + old.leaf_items
        more = np.sort(new_row[new._rows_of_leaves()] * span + new.leaf_items)
        leaf_rows, leaf_items = np.divmod(np.insert(keys, np.searchsorted(keys, more), more), span)
        return TitleTrie(merged, shared, _offsets(leaf_rows, len(merged)), leaf_items, self.eos, self.weights)

    def remove(self, items: Iterable[int]) -> TitleTrie:
        """A new tree without these items; unknown ones are ignored."""
        return self._keep(~np.isin(self.leaf_items, np.fromiter(items, dtype=np.int64)))

    def only(self, items: Iterable[int]) -> TitleTrie:
        """A new tree with these items alone, the way a whitelist is decoded; unknown ones are ignored."""
        return self._keep(np.isin(self.leaf_items, np.fromiter(items, dtype=np.int64)))

    def _keep(self, kept: NDArray[np.bool_]) -> TitleTrie:
        if kept.all():
            return replace(self)
        counts = np.bincount(self._rows_of_leaves()[kept], minlength=len(self))
        rows = np.flatnonzero(counts)
        # What a row shares with the one above is the least of all that stood between.
        shared = self.shared[:0]
        if len(rows):
            shared = np.minimum.reduceat(self.shared, np.append(0, rows[:-1] + 1))
            shared[0] = 0
        offsets = np.append(0, np.cumsum(counts[rows])).astype(np.int64)
        return TitleTrie(self.rows.take(rows), shared, offsets, self.leaf_items[kept], self.eos, self.weights)

    def save(self, path: str | Path) -> None:
        """Write the tree to one uncompressed ``.npz`` file, atomically."""
        save_arrays(
            Path(path),
            {
                "tokens": self.rows.tokens,
                "offsets": self.rows.offsets,
                "shared": self.shared,
                "leaf_offsets": self.leaf_offsets,
                "leaf_items": self.leaf_items,
                "eos": np.array([self.eos], dtype=np.int64),
                "weights": np.zeros(0) if self.weights is None else self.weights,
            },
        )

    @classmethod
    def load(cls, path: str | Path) -> TitleTrie:
        """Memory-map a tree that :meth:`save` wrote.

        Raises
        ------
        CheckpointError
            If the file is missing, damaged, or does not hold a tree.
        """
        names = ("tokens", "offsets", "shared", "leaf_offsets", "leaf_items", "eos", "weights")
        arrays = load_arrays(Path(path), dict.fromkeys(names, 1))
        weights = arrays["weights"] if len(arrays["weights"]) else None
        rows = TokenRows(arrays["tokens"], arrays["offsets"])
        leaves, items = arrays["leaf_offsets"], arrays["leaf_items"]
        fits = (
            len(rows.offsets) == len(leaves) == len(arrays["shared"]) + 1
            and len(arrays["eos"]) == 1
            and rows.offsets[-1] == len(rows.tokens)
            and leaves[-1] == len(items)
        )
        if not fits:
            raise CheckpointError(f"{path} does not hold a title trie: its arrays do not fit each other; save it again")
        return cls(rows, arrays["shared"], leaves, items, int(arrays["eos"][0]), weights)


def _offsets(rows: Ints, n_rows: int) -> Ints:
    """Where each row's entries begin among ascending row numbers: int64[n_rows + 1]."""
    return np.append(0, np.cumsum(np.bincount(rows, minlength=n_rows))).astype(np.int64)
