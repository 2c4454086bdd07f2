"""Sources that count weighted pairs of a user's events and ask the rows of the newest ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from flanrec.candidates.base import Arrays, Floats, Ints, check_growth, extended, flat_log
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

_ARRAYS = "pairs"


class PairSettings(Protocol):
    """What differs between such sources."""

    @property
    def name(self) -> str:
        """The source in a word."""

    @property
    def window(self) -> int:
        """Farthest distance of a pair in places."""

    @property
    def damping(self) -> float:
        """Evidence that each row must overcome."""

    @property
    def asked(self) -> int:
        """How many of the newest events are asked."""

    def weights(self, distance: int, gaps: NDArray[np.float64]) -> NDArray[np.float64]:
        """What pairs of a distance count, float64 [n_pairs], given the seconds between them, 0 where unknown."""

    def rows(self, counts: Matrix) -> Matrix:
        """The counts whose rows are asked, from those by earlier and later item."""


class CountsPairs:
    """How settings of such a source are fitted and restored; a base of theirs."""

    @property
    def layout(self) -> Mapping[str, int]:
        """Name and number of dimensions of each of the fitted scorer's arrays."""
        return matrix_layout(_ARRAYS)

    def fit(self: PairSettings, log: Sequences) -> FittedPairs:
        """Count pairs: `window` times the events in time, one number a distinct pair in memory."""
        n_items = len(log.item_ids)
        return FittedPairs(self, sparse.csr_matrix((n_items, n_items), dtype=np.float64)).update(log)

    def from_arrays(self: PairSettings, arrays: Mapping[str, NDArray[Any]]) -> FittedPairs:
        """Restore a scorer that was fitted with these settings.

        Raises
        ------
        CheckpointError
            If an array is missing or does not fit the others.
        """
        return FittedPairs(self, square_from_arrays(_ARRAYS, arrays))


@dataclass(frozen=True, eq=False)
class FittedPairs:
    """Weighted counts of pairs, float64 [n_items, n_items]: row the earlier item, column the later."""

    source: PairSettings
    counts: Matrix

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def n_items(self) -> int:
        return int(self.counts.shape[0])

    @cached_property
    def _shares(self) -> Matrix:
        return row_shares(self.source.rows(self.counts), self.source.damping)

    def scores(self, histories: Sequence[Ints]) -> Floats:
        """Sum of the rows of the newest events, each weighing 1 by its place from the end; 0 for an empty history."""
        asked = newest_weighted(histories, self.source.asked, self.n_items)
        return np.asarray((asked @ self._shares).toarray(), dtype=np.float32)

    def update(self, log: Sequences, before: Sequences | None = None) -> FittedPairs:
        """Add the pairs whose later event is in `log`; the events of `before` are taken to precede them."""
        n_items = check_growth(self.n_items, log)
        whole, fresh = extended(log, before)
        flat = flat_log(whole)
        rows, columns, values = [], [], []
        for distance, first, second in pairs_within(flat, fresh, self.source.window):
            gaps = np.nan_to_num(np.abs(whole.timestamps[second] - whole.timestamps[first]))
            rows.append(flat.items[first])
            columns.append(flat.items[second])
            values.append(self.source.weights(distance, gaps))
        return replace(self, counts=resized(self.counts, n_items, n_items) + summed(rows, columns, values, n_items))

    def arrays(self) -> Arrays:
        return matrix_arrays(_ARRAYS, self.counts)


def check_pairs(window: int, asked: int, damping: float) -> None:
    """Refuse settings that cannot work.

    Raises
    ------
    SettingsError
        The window or the events asked are below 1, or the damping is below 0 or no number.
    """
    if window < 1 or asked < 1:
        raise SettingsError(f"window and newest must be at least 1, got {window} and {asked}")
    if not 0 <= damping < float("inf"):
        raise SettingsError(f"damping must be a number of at least 0, got {damping}")
