"""User neighbours: what the users met who share the newest items of a history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from flanrec.candidates.base import Arrays, Floats, Ints, check_growth, flatten, once
from flanrec.candidates.matrices import (
    Matrix,
    compressed,
    incidence_before_and_after,
    log_incidence,
    matrix_arrays,
    matrix_from_arrays,
    matrix_layout,
    resized,
    without_rows,
)
from flanrec.data.sequences import Sequences
from flanrec.errors import SettingsError

_TOGETHER = 256


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
        """Row an item: what its users get for it, float32 [n_items, n_users]."""
        sizes = np.asarray(self.met.sum(axis=1)).ravel() + self.source.damping
        counts = np.asarray(self.met.sum(axis=0)).ravel() + 1
        scale = sparse.diags(1 / np.sqrt(counts)) @ self.met.T @ sparse.diags(1 / np.sqrt(np.maximum(sizes, 1)))
        return sparse.csr_matrix(scale, dtype=np.float32)

    def scores(self, histories: Sequence[Ints]) -> Floats:
        """Weighted shares of the neighbours; 0 where nobody shares an item."""
        found = np.zeros((len(histories), self.n_items), dtype=np.float32)
        for first in range(0, len(histories), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            heard = self._heard(histories[part])
            total = np.asarray(heard.sum(axis=1))
            found[part] = (heard @ self.met).toarray() / np.where(total > 0, total, 1)
        return found

    def _heard(self, histories: Sequence[Ints]) -> Matrix:
        """Squared likeness of the neighbours of each history: float32 [n_asked, n_users]."""
        shape = len(histories), self.n_items
        flat = once(flatten(histories, self.n_items), self.n_items)
        recent = flat.ages < self.source.newest
        fading = (self.source.decay ** flat.ages[recent]).astype(np.float32)
        asked = compressed(flat.users[recent], flat.items[recent], fading, shape)
        own = compressed(flat.users, flat.items, np.ones(len(flat.items), dtype=np.int32), shape)
        alike = sparse.csr_matrix(asked @ self._users_of)
        users, columns, values = [], [], []
        for row in range(len(histories)):
            span = slice(alike.indptr[row], alike.indptr[row + 1])
            near, likeness = alike.indices[span].astype(np.int64), alike.data[span]
            chosen = self._nearest(near, likeness, own[row])
            chosen = chosen[np.argsort(near[chosen])]
            users.append(np.full(len(chosen), row))
            columns.append(near[chosen])
            values.append(likeness[chosen] ** 2)
        nothing = np.zeros(0, dtype=np.int64)
        places = np.concatenate([nothing, *users]), np.concatenate([nothing, *columns])
        weights = np.concatenate([np.zeros(0, dtype=np.float32), *values])
        return compressed(places[0], places[1], weights, (len(histories), self.met.shape[0]))

    def _nearest(self, near: Ints, likeness: Floats, own: Matrix) -> Ints:
        """Places of the neighbours among users `near`, all that are as alike as the last of them included."""
        wanted = self.source.neighbours
        order = np.argsort(-likeness, kind="stable")
        chosen = np.zeros(0, dtype=np.int64)
        step = wanted + 10
        for start in range(0, len(order), step):
            taken = order[start : start + step]
            users = near[taken]
            shared = np.asarray(self.met[users] @ own.T.toarray()).ravel()
            # A user of the log all of whose items are in the history tells nothing.
            chosen = np.concatenate([chosen, taken[shared < np.diff(self.met.indptr)[users]]])
            rest = order[start + step :]
            if len(chosen) >= wanted and (not len(rest) or likeness[rest[0]] < likeness[chosen[wanted - 1]]):
                return np.asarray(chosen[likeness[chosen] >= likeness[chosen[wanted - 1]]])
        return chosen

    def update(self, log: Sequences, before: Sequences | None = None) -> FittedUserNeighbours:
        """Add what the users of `log` newly met.

        Raises
        ------
        DataError
            Also if no user of the log fitted so far has met just what `before` says.
        """
        n_items = check_growth(self.n_items, log)
        had, have = incidence_before_and_after(log, before)
        known = without_rows(resized(self.met, self.met.shape[0], n_items), had)
        return FittedUserNeighbours(self.source, sparse.vstack([known, have], format="csr"))

    def arrays(self) -> Arrays:
        return matrix_arrays("met", self.met)
