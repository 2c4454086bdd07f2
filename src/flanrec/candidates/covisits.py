"""Co-visitation: what is met in one sitting with the newest items of a history, before or after them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

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


@dataclass(frozen=True)
class Covisits:
    """Settings of co-visitation counts, weighted by nearness in time.

    With ``C[i, j] = C[j, i]`` the sum of ``exp(-gap / span_seconds) / sqrt(distance)`` over all pairs of events up
    to `window` places apart in one user's history, an item scores
    ``sum_d 1 / d * C[i_d, j] / (sum(C[i_d]) + damping)``, where ``i_d`` is the item ``d`` places from the end of
    the history. Item-to-item counts as in Linden et al., "Amazon.com Recommendations", 2003; the fading with time
    keeps apart what one sitting and what years join.

    Attributes
    ----------
    window
        Farthest distance of a pair.
    span_seconds
        After how long a pair counts ``1 / e``; half an hour is what web analytics calls a session. A pair of which
        an event has no time counts as one without a gap.
    damping
        Evidence that each row must overcome.
    newest
        How many of the newest events are asked.
    """

    window: int = 30
    span_seconds: float = 1800.0
    damping: float = 20.0
    newest: int = 10

    def __post_init__(self) -> None:
        if self.window < 1 or self.newest < 1:
            raise SettingsError(f"window and newest must be at least 1, got {self.window} and {self.newest}")
        if not 0 < self.span_seconds < float("inf"):
            raise SettingsError(f"span_seconds must be a positive number, got {self.span_seconds}")
        if not 0 <= self.damping < float("inf"):
            raise SettingsError(f"damping must be a number of at least 0, got {self.damping}")

    @property
    def name(self) -> str:
        return "covisits"

    @property
    def layout(self) -> Mapping[str, int]:
        return matrix_layout("covisits")

    def fit(self, log: Sequences) -> FittedCovisits:
        """Count pairs: `window` times the events in time, one number a distinct pair in memory."""
        n_items = len(log.item_ids)
        return FittedCovisits(self, sparse.csr_matrix((n_items, n_items), dtype=np.float64)).update(log)

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> FittedCovisits:
        return FittedCovisits(self, square_from_arrays("covisits", arrays))


@dataclass(frozen=True, eq=False)
class FittedCovisits:
    """Weighted counts of pairs, float64 [n_items, n_items], symmetric."""

    source: Covisits
    counts: Matrix

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def n_items(self) -> int:
        return int(self.counts.shape[0])

    @cached_property
    def _shares(self) -> Matrix:
        return row_shares(self.counts, self.source.damping)

    def scores(self, histories: Sequence[Ints]) -> Floats:
        """Sum of the rows of the newest events; 0 for an empty history."""
        asked = newest_weighted(histories, self.source.newest, self.n_items)
        return np.asarray((asked @ self._shares).toarray(), dtype=np.float32)

    def update(self, log: Sequences, before: Sequences | None = None) -> FittedCovisits:
        """Add the pairs whose later event is in `log`; the events of `before` are taken to precede them."""
        n_items = check_growth(self.n_items, log)
        whole, fresh = extended(log, before)
        flat = flat_log(whole)
        rows, columns, values = [], [], []
        for distance, first, second in pairs_within(flat, fresh, self.source.window):
            gaps = np.nan_to_num(np.abs(whole.timestamps[second] - whole.timestamps[first]))
            rows.append(flat.items[first])
            columns.append(flat.items[second])
            values.append(np.exp(-gaps / self.source.span_seconds) / np.sqrt(distance))
        pairs = summed(rows, columns, values, n_items)
        return FittedCovisits(self.source, resized(self.counts, n_items, n_items) + pairs + pairs.T.tocsr())

    def arrays(self) -> Arrays:
        return matrix_arrays("covisits", self.counts)
