"""Token rows of unequal length in two flat arrays: sorting, searching and inserting without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

SHARED = np.uint16
"""Of how many tokens two rows have in common; the largest row is far shorter."""

_ENDED = -1
"""Stands for the token after the last one: before all others."""


@dataclass(frozen=True, eq=False)
class TokenRows:
    """Rows of tokens.

    Attributes
    ----------
    tokens : int32[n_tokens]
        All rows, one after the other.
    offsets : int64[n_rows + 1]
        Row r is ``tokens[offsets[r]:offsets[r + 1]]``.
    """

    tokens: NDArray[np.int32]
    offsets: Ints

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> TokenRows:
        """Copy rows that are lists."""
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
        return cls(np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=int(offsets[-1])), offsets)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> list[int]:
        """One row as a list."""
        found: list[int] = self.tokens[self.offsets[row] : self.offsets[row + 1]].tolist()
        return found

    @property
    def lengths(self) -> Ints:
        """Tokens in each row: int64[n_rows]."""
        return np.asarray(np.diff(self.offsets))

    def at(self, rows: Ints, depth: int | Ints) -> Ints:
        """The token of each row at a depth, which lies within it."""
        return np.asarray(self.tokens[self.offsets[rows] + depth], dtype=np.int64)

    def padded(self, rows: Ints) -> NDArray[np.int32]:
        """Some rows as a matrix, filled up with -1: int32[len(rows), longest]."""
        first, lengths = self.offsets[rows], self.lengths[rows]
        column = np.arange(int(lengths.max(initial=0)))
        inside = column < lengths[:, None]
        matrix = np.full(inside.shape, _ENDED, dtype=np.int32)
        matrix[inside] = self.tokens[(first[:, None] + column)[inside]]
        return matrix

    def take(self, rows: Ints) -> TokenRows:
        """Some rows, in this order."""
        lengths = self.lengths[rows]
        offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
        within = np.arange(int(offsets[-1])) - np.repeat(offsets[:-1], lengths)
        return TokenRows(self.tokens[np.repeat(self.offsets[rows], lengths) + within], offsets)

    def insert(self, places: Ints, rows: TokenRows) -> TokenRows:
        """Put further rows before those at ``places``, which ascend; equal places keep the order given."""
        lengths = np.insert(self.lengths, places, rows.lengths)
        tokens = np.insert(self.tokens, np.repeat(self.offsets[places], rows.lengths), rows.tokens)
        return TokenRows(tokens, np.append(0, np.cumsum(lengths)).astype(np.int64))

    def first_malformed(self, eos: int) -> int | None:
        """The first row that is empty, has a negative token, or has ``eos`` not at its end alone."""
        lengths = self.lengths
        filled = lengths > 0
        ends = np.zeros(len(self), dtype=bool)
        ends[filled] = self.tokens[self.offsets[1:][filled] - 1] == eos
        owner = np.repeat(np.arange(len(self)), lengths)
        closings = np.bincount(owner[self.tokens == eos], minlength=len(self))
        negative = np.bincount(owner[self.tokens < 0], minlength=len(self))
        wrong = np.flatnonzero(~ends | (closings != 1) | (negative > 0))
        return int(wrong[0]) if len(wrong) else None

    def sorted_order(self, eos: int) -> tuple[Ints, NDArray[np.uint16], NDArray[np.bool_]]:
        """The lexicographic order of rows that end in ``eos``, found depth by depth among those that still tie.

        Returns
        -------
        order : int64[n_rows]
            Equal rows keep the order they have here.
        shared : uint16[n_rows]
            Leading tokens that each sorted row has in common with the one above; all for a repeated row.
        repeated : bool[n_rows]
            Whether a sorted row equals the one above.
        """
        order = np.arange(len(self))
        shared = np.zeros(len(self), dtype=SHARED)
        repeated = np.zeros(len(self), dtype=bool)
        open_ = np.arange(len(self))  # places in the order whose rows tie with a neighbour so far
        group = np.zeros(len(self), dtype=np.int64)
        depth = 0
        span = int(self.tokens.max(initial=0)) + 1
        while len(open_):
            key = group * span + self.at(order[open_], depth)
            ranks = np.argsort(key, kind="stable")
            order[open_], key = order[open_][ranks], key[ranks]
            first = np.append(True, key[1:] != key[:-1])
            same_group = np.append(False, key[1:] // span == key[:-1] // span)
            shared[open_[first & same_group]] = depth
            ended = key % span == eos
            repeated[open_[ended & ~first]] = True
            shared[open_[ended & ~first]] = depth + 1
            group = np.cumsum(first) - 1
            tied = ~ended & (np.bincount(group)[group] > 1)
            open_, group = open_[tied], group[tied]
            depth += 1
        return order, shared, repeated

    def places_of(self, rows: TokenRows) -> tuple[Ints, NDArray[np.bool_]]:
        """Where rows belong among these, which are sorted and distinct, and whether they are there already.

        Returns
        -------
        places : int64[len(rows)]
            The first row that is not before it.
        equal : bool[len(rows)]
        """
        low, high = np.zeros(len(rows), dtype=np.int64), np.full(len(rows), len(self), dtype=np.int64)
        equal = np.zeros(len(rows), dtype=bool)
        wanted = rows.padded(np.arange(len(rows)))
        while True:
            asked = np.flatnonzero(low < high)
            if not len(asked):
                return low, equal
            middle = (low[asked] + high[asked]) // 2
            order = _compare(self.padded(middle), wanted[asked])
            equal[asked[order == 0]] = True
            low[asked] = np.where(order < 0, middle + 1, low[asked])
            high[asked] = np.where(order < 0, high[asked], middle)

    def common(self, rows: Ints, others: Ints) -> Ints:
        """How many leading tokens each pair of different rows has in common."""
        return _first_difference(*_alike(self.padded(rows), self.padded(others)))


def _compare(one: NDArray[np.int32], other: NDArray[np.int32]) -> Ints:
    """-1, 0 or 1 for each pair of padded rows."""
    one, other = _alike(one, other)
    place, pair = _first_difference(one, other), np.arange(len(one))
    return np.asarray(np.sign(one[pair, place].astype(np.int64) - other[pair, place]))


def _first_difference(one: NDArray[np.int32], other: NDArray[np.int32]) -> Ints:
    """The first column in which rows differ; 0 for equal ones."""
    return np.asarray((one != other).argmax(axis=1), dtype=np.int64)


def _alike(one: NDArray[np.int32], other: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Both as wide as the wider one."""
    width = max(one.shape[1], other.shape[1], 1)
    wide = [np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=_ENDED) for rows in (one, other)]
    return wide[0], wide[1]
