"""What a tuning stage measures on the validation events, and what it shows of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from flanrec.catalogue.people import Person
from flanrec.recommender.lists import Floats, Ints
from flanrec.recommender.stages.material import Material
from flanrec.tuning import Sample

_LENGTH = 10
_SHOWN_USERS = 4
_SHOWN_TITLES = 5


class _Reading(Protocol):
    def prompts(self, users: Sequence[Person]) -> list[str]: ...

    def top(
        self, users: Sequence[Person], k: int, *, excluded: Sequence[Ints] | None = None
    ) -> tuple[Ints, Floats]: ...


class Measurement:
    """NDCG@10 of a reading for validation users, and what it told some of them.

    Parameters
    ----------
    material
        Has the users and what came next.
    reading
        Ranks the catalogue for users.
    users
        Most users to ask; all by default.
    """

    def __init__(self, material: Material, reading: _Reading, users: int | None = None) -> None:
        self.material = material
        self.reading = reading
        self.asked = material.asked[:users]
        self._items: Ints | None = None

    def __call__(self) -> dict[str, float]:
        """Ask all users, and return the metric."""
        self._items, _ = self.reading.top(self.asked, _LENGTH, excluded=[user.items for user in self.asked])
        return {"ndcg@10": self.material.ranking(self._items, slice(0, len(self.asked)))}

    def samples(self) -> list[Sample]:
        """What some users were told when they were asked last; the same users each time."""
        if self._items is None:
            return []
        titles = self.material.prompter.catalogue.titles
        rows = np.unique(np.linspace(0, len(self.asked) - 1, _SHOWN_USERS, dtype=np.int64))
        prompts = self.reading.prompts([self.asked[row] for row in rows])
        return [
            Sample(
                prompt,
                tuple(titles[item] for item in self._items[row, :_SHOWN_TITLES] if item >= 0),
                titles[self.material.first_answers[row]],
            )
            for row, prompt in zip(rows, prompts, strict=True)
        ]
