"""The titles of a catalogue as a prefix tree, stored as one sorted token matrix.

Sorting the token rows puts all titles with a common prefix next to each other, so a node of the tree
is a range ``[low, high)`` of rows at a depth, and its children are the runs of equal tokens in the
next column. No node objects exist: four flat arrays hold any catalogue and can be memory-mapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.arrays import load_arrays, save_arrays
from flanrec.errors import CheckpointError, DataError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

PADDING = -1
"""What fills a row of the token matrix after its end-of-sequence token."""


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
    tokens : int32[n_rows, width]
        The distinct token rows in lexicographic order, filled up with -1.
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

    tokens: NDArray[np.int32]
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
        for position, row in enumerate(rows):
            if not row or row[-1] != eos or eos in row[:-1] or min(row) < 0:
                raise DataError(
                    f"token row {position} (item {index[position]}) is {list(row)!r}: a row must hold at least one "
                    f"token, none negative, and end in the end-of-sequence token {eos}, which stands nowhere else"
                )
        matrix = np.full((len(rows), max((len(row) for row in rows), default=1)), PADDING, dtype=np.int32)
        for position, row in enumerate(rows):
            matrix[position, : len(row)] = row
        if weights is not None and not (np.isfinite(weights).all() and (weights > 0).all()):
            raise DataError("the weights of a trie's items must be finite and above zero; add one to counts")
        return cls._from_matrix(matrix, index, eos, weights)

    @classmethod
    def _from_matrix(cls, matrix: NDArray[np.int32], items: Ints, eos: int, weights: Floats | None) -> TitleTrie:
        order = np.lexsort((items, *matrix.T[::-1]))
        matrix, items = matrix[order], items[order]
        first = np.ones(len(items), dtype=bool)
        first[1:] = (matrix[1:] != matrix[:-1]).any(axis=1)
        offsets = np.append(np.flatnonzero(first), len(items)).astype(np.int64)
        return cls(np.ascontiguousarray(matrix[first]), offsets, items, eos, weights)

    def __len__(self) -> int:
        """The number of distinct token rows, which is at most the number of items."""
        return len(self.tokens)

    @cached_property
    def lengths(self) -> Ints:
        """Tokens in each row, the closing ``eos`` included: int64[n_rows]."""
        lengths: Ints = (self.tokens != PADDING).sum(axis=1).astype(np.int64)
        return lengths

    @cached_property
    def used_tokens(self) -> Ints:
        """All tokens that occur in a row, ascending and distinct."""
        return np.unique(self.tokens[self.tokens != PADDING]).astype(np.int64)

    @cached_property
    def _starts(self) -> list[Ints]:
        """For each depth d the rows whose first d + 1 tokens differ from those of the row above."""
        changed = np.zeros(len(self), dtype=bool)
        changed[:1] = True
        starts = []
        for column in self.tokens.T:
            changed[1:] |= column[1:] != column[:-1]
            starts.append(np.append(np.flatnonzero(changed), len(self)).astype(np.int64))
        return starts

    def children(self, low: Sequence[int] | Ints, high: Sequence[int] | Ints, depth: int) -> Children:
        """The allowed next tokens of several nodes at one depth.

        Parameters
        ----------
        low, high : int64[n_nodes]
            The row ranges of the nodes, each agreeing in its first ``depth`` tokens and not yet ended.
        depth : int
            How many tokens were already decoded; 0 is the root.
        """
        starts = self._starts[depth]
        first = np.searchsorted(starts, low)
        counts = np.searchsorted(starts, high) - first
        parent = np.repeat(np.arange(len(counts)), counts)
        position = np.arange(len(parent)) - np.repeat(np.cumsum(counts) - counts, counts) + first[parent]
        child = starts[position]
        return Children(parent, self.tokens[child, depth].astype(np.int64), child, starts[position + 1])

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

    def ranges(self, rows: Ints, depth: int) -> tuple[Ints, Ints]:
        """The range ``[low, high)`` of the node that each row passes after ``depth`` tokens."""
        if depth == 0:
            return np.zeros(len(rows), dtype=np.int64), np.full(len(rows), len(self), dtype=np.int64)
        starts = self._starts[depth - 1]
        position = np.searchsorted(starts, rows, side="right")
        return starts[position - 1], starts[position]

    @cached_property
    def fork_depths(self) -> Ints:
        """How many tokens tell each row from all others: int64[n_rows]; the rest of the row is certain."""
        depths = np.zeros(len(self), dtype=np.int64)
        rows = np.arange(len(self))
        for depth in range(self.tokens.shape[1]):
            low, high = self.ranges(rows, depth)
            depths[high - low > 1] = depth + 1
        return depths

    def items_of(self, rows: Ints) -> tuple[Ints, Ints]:
        """The items that several rows stand for, as (position in ``rows``, item), both flat."""
        counts = self.leaf_offsets[rows + 1] - self.leaf_offsets[rows]
        position = np.repeat(np.arange(len(rows)), counts)
        within = np.arange(len(position)) - np.repeat(np.cumsum(counts) - counts, counts)
        return position, self.leaf_items[self.leaf_offsets[rows][position] + within]

    @cached_property
    def _row_of_item(self) -> Ints:
        rows = np.full(self.leaf_items.max(initial=-1) + 1, -1, dtype=np.int64)
        rows[self.leaf_items] = np.repeat(np.arange(len(self)), np.diff(self.leaf_offsets))
        return rows

    def rows_of(self, items: Sequence[int] | Ints) -> Ints:
        """The row of each item, or -1 for an item that the tree does not hold."""
        wanted = np.asarray(items, dtype=np.int64)
        known = (wanted >= 0) & (wanted < len(self._row_of_item))
        rows = np.full(len(wanted), -1, dtype=np.int64)
        rows[known] = self._row_of_item[wanted[known]]
        return rows

    def tokens_of(self, row: int) -> list[int]:
        """The tokens of one row, ``eos`` included."""
        return [int(token) for token in self.tokens[row, : self.lengths[row]]]

    def add(self, rows: Sequence[Sequence[int]], items: Sequence[int]) -> TitleTrie:
        """A new tree that holds further items; an item already held takes its new row."""
        old = self.remove(items)
        kept, kept_items = old._one_row_an_item()
        new, new_items = TitleTrie.build(rows, items, self.eos)._one_row_an_item()
        width = max(kept.shape[1], new.shape[1])
        matrix = np.full((len(kept) + len(new), width), PADDING, dtype=np.int32)
        matrix[: len(kept), : kept.shape[1]] = kept
        matrix[len(kept) :, : new.shape[1]] = new
        return self._from_matrix(matrix, np.concatenate([kept_items, new_items]), self.eos, self.weights)

    def remove(self, items: Iterable[int]) -> TitleTrie:
        """A new tree without these items; unknown ones are ignored."""
        return self._keep(~np.isin(self.leaf_items, np.fromiter(items, dtype=np.int64)))

    def only(self, items: Iterable[int]) -> TitleTrie:
        """A new tree with these items alone, the way a whitelist is decoded; unknown ones are ignored."""
        return self._keep(np.isin(self.leaf_items, np.fromiter(items, dtype=np.int64)))

    def _keep(self, kept: NDArray[np.bool_]) -> TitleTrie:
        matrix, items = self._one_row_an_item()
        return self._from_matrix(matrix[kept], items[kept], self.eos, self.weights)

    def _one_row_an_item(self) -> tuple[NDArray[np.int32], Ints]:
        return np.repeat(self.tokens, np.diff(self.leaf_offsets), axis=0), np.asarray(self.leaf_items)

    def save(self, path: str | Path) -> None:
        """Write the tree to one uncompressed ``.npz`` file, atomically."""
        save_arrays(
            Path(path),
            {
                "tokens": self.tokens,
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
        arrays = load_arrays(Path(path), {"tokens": 2, "leaf_offsets": 1, "leaf_items": 1, "eos": 1, "weights": 1})
        weights = arrays["weights"] if len(arrays["weights"]) else None
        trie = cls(arrays["tokens"], arrays["leaf_offsets"], arrays["leaf_items"], int(arrays["eos"][0]), weights)
        fits = len(trie.leaf_offsets) == len(trie.tokens) + 1 and trie.leaf_offsets[-1] == len(trie.leaf_items)
        if not fits or trie.tokens.dtype != np.int32:
            raise CheckpointError(f"{path} does not hold a title trie: its arrays do not fit each other; save it again")
        return trie
