"""Users as the model meets them: events in order and attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flanrec.data.dataset import Dataset
from flanrec.data.profiles import attributes_of_users

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
    """

    items: Ints
    ratings: Floats
    attributes: dict[str, str] = field(default_factory=dict)
    times: NDArray[np.float64] | None = None

    @property
    def moment(self) -> float:
        """Time of the newest event in seconds, nan if it is not known."""
        return float(self.times[-1]) if self.times is not None and len(self.times) else float("nan")

    def before(self, count: int) -> Person:
        """The same user when only the first `count` events had happened."""
        times = None if self.times is None else self.times[:count]
        return Person(self.items[:count], self.ratings[:count], self.attributes, times)

    def without(self, at: int) -> Person:
        """The same user when one event had not happened."""
        times = None if self.times is None else np.delete(self.times, at)
        return Person(np.delete(self.items, at), np.delete(self.ratings, at), self.attributes, times)

    @classmethod
    def new(cls, items: Sequence[int] = (), attributes: dict[str, str] | None = None) -> Person:
        """A user known only by some items, none of them rated."""
        chosen = np.asarray(items, dtype=np.int64)
        return cls(chosen, np.full(len(chosen), np.nan, dtype=np.float32), dict(attributes or {}))


def people(dataset: Dataset, user_ids: Sequence[Any] | None = None) -> list[Person]:
    """The users of a data set (all by default) in the order given; an unknown one has no events."""
    sequences = dataset.sequences(user_ids)
    attributes = attributes_of_users(dataset, sequences.user_ids)
    found = []
    for user, user_id in enumerate(sequences.user_ids):
        span = slice(int(sequences.offsets[user]), int(sequences.offsets[user + 1]))
        told = attributes.get(user_id, {})
        found.append(Person(sequences.items[span], sequences.ratings[span], told, sequences.timestamps[span]))
    return found
