"""What a user might have met instead: items drawn evenly, by their events, popular at a time, or near another one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.facets import Facets
from flanrec.catalogue.items import Catalogue
from flanrec.catalogue.people import Person

Ints = NDArray[np.int64]

_NEAR = 50
"""Ranks of popularity that are near each other."""


class Alternatives:
    """Draws items of a catalogue; whom they suit is not its business.

    Parameters
    ----------
    users
        Whose events say what was popular when.
    catalogue
        Its popularity is what the items are drawn by.
    facets
        Of the catalogue, for its categories.
    window
        Events before a moment among which an item is popular then.
    """

    def __init__(self, users: Sequence[Person], catalogue: Catalogue, facets: Facets, *, window: int = 1000) -> None:
        self.users = users
        self.catalogue = catalogue
        self.facets = facets
        self.window = window
        self.log_shares: NDArray[np.float64] = np.log(catalogue.weights / catalogue.weights.sum())
        """Log-probability of each item in `by_events`: float64 [n_items]."""
        self._totals = np.cumsum(catalogue.weights)

    def evenly(self, rng: np.random.Generator, count: int) -> Ints:
        """Items drawn evenly, again and again the same ones: int64 [count]."""
        return rng.integers(len(self.catalogue), size=count)

    def by_events(self, rng: np.random.Generator, count: int) -> Ints:
        """Items drawn by their events and one more, again and again the same ones: int64 [count]."""
        drawn = np.searchsorted(self._totals, rng.random(count) * self._totals[-1], side="right")
        return np.asarray(np.minimum(drawn, len(self._totals) - 1), dtype=np.int64)

    def popular(self, rng: np.random.Generator, moment: float, count: int) -> Ints:
        """Items drawn by their events in the window before a moment, as `by_events` where no time is known.

        Parameters
        ----------
        moment
            In seconds; what happened then or later does not count.

        Returns
        -------
        int64 [count]
        """
        times, items = self._timeline
        end = 0 if np.isnan(moment) else int(np.searchsorted(times, moment))
        if not end:
            return self.by_events(rng, count)
        chosen: Ints = items[rng.integers(max(0, end - self.window), end, size=count)]
        return chosen

    def near(self, rng: np.random.Generator, item: int, moment: float, count: int) -> Ints:
        """Items that are easily taken for another one: int64 [count], the item itself among them.

        Each is of one of its categories, or near it in popularity, or popular at the time.
        """
        ways = [self._alike(rng, item, count), self._by_rank(rng, item, count), self.popular(rng, moment, count)]
        return np.stack(ways)[rng.integers(len(ways), size=count), np.arange(count)]

    def _alike(self, rng: np.random.Generator, item: int, count: int) -> Ints:
        own = np.flatnonzero(self.facets.members[item, : self.facets.n_categories])
        if not len(own):
            return self._by_rank(rng, item, count)
        members = np.flatnonzero(self.facets.members[:, rng.choice(own)])
        return members[rng.integers(len(members), size=count)]

    def _by_rank(self, rng: np.random.Generator, item: int, count: int) -> Ints:
        order, ranks = self._ranked
        low, high = max(0, ranks[item] - _NEAR), min(len(order), ranks[item] + _NEAR + 1)
        return order[rng.integers(low, high, size=count)]

    @cached_property
    def _ranked(self) -> tuple[Ints, Ints]:
        """The items by popularity, and the rank of each."""
        order = np.argsort(-self.catalogue.popularity, kind="stable")
        ranks = np.empty_like(order)
        ranks[order] = np.arange(len(order))
        return order, ranks

    @cached_property
    def _timeline(self) -> tuple[NDArray[np.float64], Ints]:
        """All events whose time is known, oldest first: times and items."""
        timed = [(user.times, user.items) for user in self.users if user.times is not None]
        times = np.concatenate([np.zeros(0), *(times for times, _ in timed)])
        items = np.concatenate([np.zeros(0, np.int64), *(items for _, items in timed)])
        order = np.argsort(times, kind="stable")[: int((~np.isnan(times)).sum())]
        return times[order], items[order]
