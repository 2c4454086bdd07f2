"""What was popular around a moment: events of a log by time, counted in windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flanrec.data.sequences import Sequences

Floats = NDArray[np.float32]
_DAY = 86_400.0
_PRIOR = 0.5


@dataclass(frozen=True, eq=False)
class Moments:
    """The dated events of a log, oldest first.

    Attributes
    ----------
    times
        float64 [n_events], seconds, ascending.
    items
        int64 [n_events], catalogue indices.
    n_items
        Size of the catalogue.
    """

    times: NDArray[np.float64]
    items: NDArray[np.int64]
    n_items: int

    @classmethod
    def of(cls, log: Sequences) -> Moments:
        """Order the events of a log by time; those without a time are left out."""
        dated = np.flatnonzero(~np.isnan(log.timestamps))
        order = dated[np.argsort(log.timestamps[dated], kind="stable")]
        return cls(log.timestamps[order], log.items[order], len(log.item_ids))

    @property
    def newest(self) -> float:
        """Time of the newest event, nan where none is dated."""
        return float(self.times[-1]) if len(self.times) else float("nan")

    def log_shares(self, moments: Sequence[float], days: float) -> Floats:
        """Log of each item's share of the events of the last `days` before each moment.

        Parameters
        ----------
        moments
            Seconds; nan stands for the newest event.

        Returns
        -------
        float32 [n_moments, n_items]
            Half an event is added to every item, so an empty window gives equal shares.
        """
        found = np.empty((len(moments), self.n_items), dtype=np.float32)
        for row, moment in enumerate(moments):
            end = self.newest if np.isnan(moment) else moment
            first, last = np.searchsorted(self.times, [end - days * _DAY, end])
            counts = np.bincount(self.items[first:last], minlength=self.n_items)
            found[row] = np.log((counts + _PRIOR) / (counts.sum() + _PRIOR * self.n_items))
        return found
