"""Popularity: how large an item's share of all events is, newer ones counting more if wished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flanrec.candidates.base import Arrays, Floats, Ints, check_growth, flatten, named_array
from flanrec.data.sequences import Sequences
from flanrec.errors import CheckpointError, SettingsError

_DAY = 86_400.0


@dataclass(frozen=True)
class Popularity:
    """Settings of popularity; every user gets the same scores.

    Attributes
    ----------
    half_life_days
        After how many days an event counts half, seen from the newest event of the log; None for all events
        alike. Events without a time always count whole.
    """

    half_life_days: float | None = None

    def __post_init__(self) -> None:
        if self.half_life_days is not None and not 0 < self.half_life_days < float("inf"):
            raise SettingsError(f"half_life_days must be a positive number of days or None, got {self.half_life_days}")

    @property
    def name(self) -> str:
        return "popularity" if self.half_life_days is None else "recent-popularity"

    @property
    def layout(self) -> Mapping[str, int]:
        return {"whole": 1, "fading": 1, "newest": 1}

    def fit(self, log: Sequences) -> FittedPopularity:
        """Count events, in time linear in the log."""
        nothing = np.zeros(len(log.item_ids))
        return FittedPopularity(self, nothing, nothing, float("-inf")).update(log)

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> FittedPopularity:
        whole, fading, newest = (named_array(arrays, name, size) for name, size in self.layout.items())
        if whole.shape != fading.shape or newest.shape != (1,):
            raise CheckpointError("the arrays of popularity do not fit each other; fit and save the source again")
        return FittedPopularity(self, whole, fading, float(newest[0]))


@dataclass(frozen=True, eq=False)
class FittedPopularity:
    """Weight of events of each item.

    Attributes
    ----------
    whole
        float64 [n_items], events that do not fade.
    fading
        float64 [n_items], events weighted ``2 ** (-days / half_life_days)`` as seen at `newest`.
    newest
        Time of the newest fading event in seconds, ``-inf`` if there is none.
    """

    source: Popularity
    whole: NDArray[np.float64]
    fading: NDArray[np.float64]
    newest: float

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def n_items(self) -> int:
        return len(self.whole)

    def scores(self, histories: Sequence[Ints]) -> Floats:
        """Log of each item's share of all events, one whole event added to every item."""
        flatten(histories, self.n_items)
        weights = self.whole + self.fading + 1
        shares = np.log(weights / weights.sum()).astype(np.float32)
        return np.tile(shares, (len(histories), 1))

    def update(self, log: Sequences, before: Sequences | None = None) -> FittedPopularity:
        """Add the events of `log`; the sums are carried on to the new newest event. `before` is not needed."""
        n_items = check_growth(self.n_items, log)
        added = n_items - self.n_items
        whole, fading, newest = np.pad(self.whole, (0, added)), np.pad(self.fading, (0, added)), self.newest
        fades = np.isfinite(log.timestamps) & (self.source.half_life_days is not None)
        whole += np.bincount(log.items[~fades], minlength=n_items)
        if self.source.half_life_days is not None and fades.any():
            times = log.timestamps[fades]
            newest = max(newest, float(times.max()))
            span = self.source.half_life_days * _DAY
            fading *= 0.5 ** ((newest - self.newest) / span)
            fading += np.bincount(log.items[fades], 0.5 ** ((newest - times) / span), minlength=n_items)
        return FittedPopularity(self.source, whole, fading, newest)

    def arrays(self) -> Arrays:
        return {"whole": self.whole, "fading": self.fading, "newest": np.array([self.newest])}
