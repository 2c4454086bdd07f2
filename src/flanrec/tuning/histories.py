"""Histories varied before they are put into words."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.people import Person
from flanrec.instructions.augment import crop, mask, reorder


@dataclass(frozen=True)
class HistoryChanges:
    """Crops, thins and reorders the history that a prompt tells, each with a probability of its own.

    Only what is told varies: what is asked, what is excluded from the answers and what a teacher expects follow from
    the history as it was.

    Attributes
    ----------
    crop, mask, reorder
        Probabilities, from 0 to 1, that a history is cropped to one stretch, thinned, and reordered in one stretch; how
        far each goes, `flanrec.instructions.augment` says.
    """

    crop: float = 0.0
    mask: float = 0.0
    reorder: float = 0.0

    def __call__(self, person: Person, rng: np.random.Generator) -> Person:
        """The person with another history, never an empty one where there was one."""
        for probability, positions_of in ((self.crop, crop), (self.mask, mask), (self.reorder, reorder)):
            if probability and rng.random() < probability:
                person = _at(person, positions_of(len(person.items), rng))
        return person


def _at(person: Person, positions: NDArray[np.int64]) -> Person:
    """The same user with the events of some positions, in their order."""
    times = None if person.times is None else person.times[positions]
    reviews = person.reviews and tuple(person.reviews[at] for at in positions.tolist())
    items, ratings = person.items[positions], person.ratings[positions]
    return replace(person, items=items, ratings=ratings, times=times, reviews=reviews)
