"""Item transitions: what tends to come soon after the newest items of a history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from flanrec.candidates.base import Arrays, Flat, Floats, Ints, check_growth, extended, flat_log
from flanrec.candidates.matrices import (
    Matrix,
    matrix_arrays,
    matrix_layout,
    newest_weighted,
    pairs_within,
    resized,
    row_shares,
    square_from_arrays,
    summed,
)
from flanrec.data.sequences import Sequences
from flanrec.errors import SettingsError


@dataclass(frozen=True)
class Transitions:
    """Settings of a damped Markov chain over pairs within a window.

    With ``T[i, j]`` the sum of ``1 / distance`` over all events of ``j`` that came up to `window` places after
    ``i`` in one user's history, an item scores ``sum_d 1 / d * T[i_d, j] / (sum(T[i_d]) + damping)``, where
    ``i_d`` is the item ``d`` places before the next one. A Markov chain with skipping, as in Shani et al., "An
    MDP-Based Recommender System", 2005, with other weights.

    Attributes
    ----------
    window
        Farthest distance of a pair, and how many of the newest events are asked.
    damping
        Evidence that each row must overcome: rarely seen items speak softly.
    backward
        Ask what tends to come shortly *before* the newest items instead: what a user who is in the middle of a
        series has skipped.
    """

    window: int = 3
    damping: float = 20.0
    backward: bool = False

    def __post_init__(self) -> None:
        if self.window < 1:
            raise SettingsError(f"window must be at least 1, got {self.window}")
        if not 0 <= self.damping < float("inf"):
            raise SettingsError(f"damping must be a number of at least 0, got {self.damping}")

    @property
    def name(self) -> str:
        return "backward-transitions" if self.backward else "transitions"

    @property
    def layout(self) -> Mapping[str, int]:
        return matrix_layout("transitions")

    def fit(self, log: Sequences) -> FittedTransitions:
        """Count pairs: `window` times the events in time, one number a distinct pair in memory."""
        n_items = len(log.item_ids)
        return FittedTransitions(self, sparse.csr_matrix((n_items, n_items), dtype=np.float64)).update(log)

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> FittedTransitions:
        return FittedTransitions(self, square_from_arrays("transitions", arrays))


@dataclass(frozen=True, eq=False)
class FittedTransitions:
    """Weighted counts of pairs, float64 [n_items, n_items]: row the earlier item, column the later."""

    source: Transitions
    counts: Matrix

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def n_items(self) -> int:
        return int(self.counts.shape[0])

    @cached_property
    def _shares(self) -> Matrix:
        return row_shares(self.counts.T.tocsr() if self.source.backward else self.counts, self.source.damping)

    def scores(self, histories: Sequence[Ints]) -> Floats:
        """Sum of the rows of the newest `window` events; 0 for an empty history."""
        asked = newest_weighted(histories, self.source.window, self.n_items)
        return np.asarray((asked @ self._shares).toarray(), dtype=np.float32)

    def update(self, log: Sequences, before: Sequences | None = None) -> FittedTransitions:
        """Add the pairs whose later event is in `log`; the events of `before` are taken to precede them."""
        n_items = check_growth(self.n_items, log)
        whole, fresh = extended(log, before)
        pairs = count_pairs(flat_log(whole), fresh, self.source.window, n_items)
        return FittedTransitions(self.source, resized(self.counts, n_items, n_items) + pairs)

    def arrays(self) -> Arrays:
        return matrix_arrays("transitions", self.counts)


def count_pairs(flat: Flat, fresh: NDArray[np.bool_], window: int, n_items: int) -> Matrix:
    """The sum of ``1 / distance`` of each pair whose later event is `fresh`: float64 [n_items, n_items]."""
    rows, columns, values = [], [], []
    for distance, first, second in pairs_within(flat, fresh, window):
        rows.append(flat.items[first])
        columns.append(flat.items[second])
        values.append(np.full(len(first), 1 / distance))
    return summed(rows, columns, values, n_items)
