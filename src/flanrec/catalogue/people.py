"""Users as the model meets them: events in order and attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flanrec.data.dataset import Dataset
from flanrec.data.own_reviews import beside_events, reviews_of_users
from flanrec.data.profiles import attributes_of_users
from flanrec.data.sequences import Sequences

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Person:
    """What is known of a user at some moment: events so far and attributes.

    Attributes
    ----------
    items
        int64 [n], catalogue indices, oldest first.
    ratings
        float32 [n], nan where there is none.
    attributes
        Columns of the users table as text.
    times
        float64 [n], seconds, nan where there is none; None where no event has one.
    reviews
        What the user wrote of each event, "" for nothing; empty where nothing is known. A review of an item that was
        met several times stands beside the last.
    user_id
        Its id; None for one who has none.
    """

    items: Ints
    ratings: Floats
    attributes: dict[str, str] = field(default_factory=dict)
    times: NDArray[np.float64] | None = None
    reviews: tuple[str, ...] = ()
    user_id: Any = None

    @property
    def moment(self) -> float:
        """Time of the newest event in seconds, nan if it is not known."""
        return float(self.times[-1]) if self.times is not None and len(self.times) else float("nan")

    def before(self, count: int) -> Person:
        """The same user when only the first `count` events had happened."""
        times = None if self.times is None else self.times[:count]
        ratings, reviews = self.ratings[:count], self.reviews[:count]
        return Person(self.items[:count], ratings, self.attributes, times, reviews, self.user_id)

    def without(self, at: int) -> Person:
        """The same user when one event had not happened."""
        times = None if self.times is None else np.delete(self.times, at)
        items, ratings = np.delete(self.items, at), np.delete(self.ratings, at)
        reviews = self.reviews and (*self.reviews[:at], *self.reviews[at + 1 :])
        return Person(items, ratings, self.attributes, times, reviews, self.user_id)

    @classmethod
    def new(cls, items: Sequence[int] = (), attributes: dict[str, str] | None = None) -> Person:
        """A user known only by some items, none of them rated."""
        chosen = np.asarray(items, dtype=np.int64)
        return cls(chosen, np.full(len(chosen), np.nan, dtype=np.float32), dict(attributes or {}))


@dataclass(frozen=True, eq=False)
class People:
    """The users of a log, each found at once.

    Attributes
    ----------
    log
        Events of all users that have some.
    attributes
        By user id, of all users that have some.
    reviews
        By user id and catalogue index, of all users that wrote some.
    """

    log: Sequences
    attributes: Mapping[Any, dict[str, str]]
    reviews: Mapping[Any, Mapping[int, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset) -> People:
        """Read a data set once."""
        users = [] if dataset.users is None else dataset.users["user_id"].to_list()
        log = dataset.sequences()
        return cls(log, attributes_of_users(dataset, users), reviews_of_users(dataset, log.user_ids))

    @cached_property
    def _rows(self) -> dict[Any, int]:
        return {user: row for row, user in enumerate(self.log.user_ids)}

    def find(self, user_ids: Sequence[Any]) -> list[Person]:
        """The users in the order given; an unknown one has no events."""
        found = []
        for user in user_ids:
            row = self._rows.get(user)
            span = slice(0, 0) if row is None else slice(int(self.log.offsets[row]), int(self.log.offsets[row + 1]))
            told, items = self.attributes.get(user, {}), self.log.items[span]
            reviews = beside_events(items.tolist(), self.reviews.get(user, {}))
            found.append(Person(items, self.log.ratings[span], told, self.log.timestamps[span], reviews, user))
        return found


def people(dataset: Dataset, user_ids: Sequence[Any] | None = None) -> list[Person]:
    """The users of a data set (all by default) in the order given; an unknown one has no events."""
    log = dataset.sequences(user_ids)
    told, written = attributes_of_users(dataset, log.user_ids), reviews_of_users(dataset, log.user_ids)
    return People(log, told, written).find(log.user_ids)
