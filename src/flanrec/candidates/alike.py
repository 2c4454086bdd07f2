"""User neighbours: what the users met who share the newest items of a history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from flanrec.candidates.base import Arrays, Floats, Ints, flatten, once
from flanrec.candidates.matrices import (
    Matrix,
    incidence_with,
    log_incidence,
    matrix_arrays,
    matrix_from_arrays,
    matrix_layout,
)
from flanrec.data.sequences import Sequences
from flanrec.errors import SettingsError

_ROUNDING = 1e-9


@dataclass(frozen=True)
class UserNeighbours:
    """Settings of user-based nearest neighbours, asked with the newest events.

    A user ``v`` of the log is as alike as ``sum_i decay ** age_i / sqrt(n_i + 1) / sqrt(n_v + damping)``, over the
    items ``i`` of the newest events that ``v`` met too, with ``n_i`` users of the item and ``n_v`` items of the
    user. An item scores the mean over the `neighbours` most alike users of whether they met it, weighted by the
    squared likeness (Herlocker et al., "An Algorithmic Framework for Performing Collaborative Filtering", 1999;
    the fading as in session-based nearest neighbours, Ludewig and Jannach, 2018).

    A user of the log who met nothing beside the history is no neighbour: so a known user is not his own.

    Attributes
    ----------
    neighbours
        Users that are heard.
    newest
        Events of a history that are compared.
    decay
        What an event weighs against the one after it.
    damping
        Items that every user is taken to have met beside his own: short histories speak softly.
    """

    neighbours: int = 60
    newest: int = 20
    decay: float = 0.9
    damping: float = 20.0

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.newest < 1:
            raise SettingsError(f"neighbours and newest must be at least 1, got {self.neighbours} and {self.newest}")
        if not 0 < self.decay <= 1:
            raise SettingsError(f"decay must be above 0 and at most 1, got {self.decay}")
        if not 0 <= self.damping < float("inf"):
            raise SettingsError(f"damping must be a number of at least 0, got {self.damping}")

    @property
    def name(self) -> str:
        return "users-alike"

    @property
    def layout(self) -> Mapping[str, int]:
        return matrix_layout("met")

    def fit(self, log: Sequences) -> FittedUserNeighbours:
        """Keep who met what."""
        return FittedUserNeighbours(self, log_incidence(log))

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> FittedUserNeighbours:
        return FittedUserNeighbours(self, matrix_from_arrays("met", arrays))


@dataclass(frozen=True, eq=False)
class FittedUserNeighbours:
    """Who met what: int32 [n_users, n_items], 1 where a user has met an item."""

    source: UserNeighbours
    met: Matrix

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def n_items(self) -> int:
        return int(self.met.shape[1])

    @cached_property
    def _users_of(self) -> Matrix:
        """Row an item: what its users get for it, float64 [n_items, n_users]."""
        sizes = np.asarray(self.met.sum(axis=1)).ravel() + self.source.damping
        counts = np.asarray(self.met.sum(axis=0)).ravel() + 1
        scale = sparse.diags(1 / np.sqrt(counts)) @ self.met.T @ sparse.diags(1 / np.sqrt(np.maximum(sizes, 1)))
        return sparse.csr_matrix(scale, dtype=np.float64)

    def scores(self, histories: Sequence[Ints]) -> Floats:
        """Weighted shares of the neighbours; 0 where nobody shares an item."""
        found = np.zeros((len(histories), self.n_items), dtype=np.float32)
        flat = once(flatten(histories, self.n_items), self.n_items)
        offsets = np.searchsorted(flat.users, np.arange(len(histories) + 1))
        for row in range(len(histories)):
            span = slice(offsets[row], offsets[row + 1])
            items, recent = flat.items[span], flat.ages[span] < self.source.newest
            near, alike = self._alike(items[recent], self.source.decay ** flat.ages[span][recent])
            chosen = self._nearest(near, alike, items)
            weights = alike[chosen] ** 2
            met, sizes = _rows(self.met, near[chosen])
            total = weights.sum()
            if total > 0:
                found[row] = np.bincount(met, np.repeat(weights, sizes), self.n_items) / total
        return found

    def _alike(self, items: Ints, fading: NDArray[np.floating[Any]]) -> tuple[Ints, NDArray[np.float64]]:
        """The users who share an item, and how alike they are."""
        users, sizes = _rows(self._users_of, items)
        values = _values(self._users_of, items) * np.repeat(fading, sizes)
        found = np.bincount(users, values, minlength=self.met.shape[0])
        near = np.flatnonzero(found).astype(np.int64)
        return near, np.asarray(found[near], dtype=np.float64)

    def _nearest(self, near: Ints, alike: NDArray[np.float64], items: Ints) -> Ints:
        """Places of the neighbours among users `near`, all that are as alike as the last of them included.

        Likeness that differs by rounding alone is the same.
        """
        wanted = self.source.neighbours
        order = np.argsort(-alike, kind="stable")
        own = np.zeros(self.n_items, dtype=bool)
        own[items] = True
        chosen = np.zeros(0, dtype=np.int64)
        step = wanted + 10
        for start in range(0, len(order), step):
            taken = order[start : start + step]
            met, sizes = _rows(self.met, near[taken])
            # A user of the log all of whose items are in the history tells nothing.
            news = np.add.reduceat(~own[met], np.cumsum(sizes) - sizes) > 0
            chosen = np.concatenate([chosen, taken[news]])
            rest = order[start + step :]
            least = alike[chosen[wanted - 1]] * (1 - _ROUNDING) if len(chosen) >= wanted else 0.0
            if least and (not len(rest) or alike[rest[0]] < least):
                return np.asarray(chosen[alike[chosen] >= least])
        return chosen

    def update(self, log: Sequences, before: Sequences | None = None) -> FittedUserNeighbours:
        """Add what the users of `log` newly met.

        Raises
        ------
        DataError
            Also if no user of the log fitted so far has met just what `before` says.
        """
        return FittedUserNeighbours(self.source, incidence_with(self.met, log, before))

    def arrays(self) -> Arrays:
        return matrix_arrays("met", self.met)


def _rows(matrix: Matrix, rows: Ints) -> tuple[Ints, Ints]:
    """Columns of some rows, one row after the other, and how many each has."""
    return matrix.indices[_places(matrix, rows)].astype(np.int64), np.diff(matrix.indptr)[rows].astype(np.int64)


def _values(matrix: Matrix, rows: Ints) -> NDArray[np.float64]:
    return np.asarray(matrix.data[_places(matrix, rows)])


def _places(matrix: Matrix, rows: Ints) -> Ints:
    first = matrix.indptr[rows].astype(np.int64)
    sizes = matrix.indptr[rows + 1] - first
    return np.asarray(np.arange(sizes.sum()) + np.repeat(first - np.cumsum(sizes) + sizes, sizes))
