"""What is learnt from in an update: new events beside replayed old ones, the weights held near where they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from flanrec.candidates.blend import Blend
from flanrec.recommender.settings import TeacherName
from flanrec.recommender.stages import Material
from flanrec.recommender.updating.settings import Penalty
from flanrec.tuning import Weighted, all_processes
from flanrec.tuning.anchors import Anchor, diagonal_fisher, relative
from flanrec.tuning.objectives.replayed import Replayed
from flanrec.tuning.teaching import Teacher

WARMUP = 0.1
"""Share of the updates during which learning rates rise: the optimiser begins anew."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is learnt from: events that arrived, and those that were known.

    Attributes
    ----------
    material
        Of the log without what is set apart; its users are those of `new` and `old`.
    new, old
        Of each user, the places of events that arrived, and of those that were known: int64, rising.
    """

    material: Material
    new: Sequence[NDArray[np.int64]]
    old: Sequence[NDArray[np.int64]]

    @classmethod
    def of(cls, material: Material, arrived: Mapping[Any, NDArray[np.int64]]) -> Lesson:
        """From the places of new events by user id."""
        nothing = np.zeros(0, dtype=np.int64)
        new = [arrived.get(user, nothing) for user in material.train.user_ids]
        old = [
            np.setdiff1d(np.arange(len(user.items)), places) for user, places in zip(material.users, new, strict=True)
        ]
        return cls(material, new, old)

    @property
    def updated(self) -> int:
        """How many users have new events."""
        return sum(len(places) > 0 for places in self.new)

    def teacher(self, name: TeacherName) -> Teacher | None:
        """As `Material.teacher`, but with its usual weights: held-out events are not for learning here."""
        return None if name == "none" else Blend().fit(self.material.train.sequences()).scores


def beside(new: Sequence[Weighted], old: Sequence[Weighted], share: float) -> list[Weighted]:
    """Objectives with old examples beside new ones.

    One that has no old examples is learnt from new ones alone; one that has no new examples, such as ratings where none
    arrived, is replayed alone, that often as old examples are.
    """
    if not share:
        return list(new)
    arrived = {weighted.objective.name for weighted in new}
    known = {weighted.objective.name: weighted.objective for weighted in old}
    found = [
        Weighted(Replayed(one.objective, known[one.objective.name], share), one.weight)
        if one.objective.name in known
        else one
        for one in new
    ]
    return found + [Weighted(one.objective, one.weight * share) for one in old if one.objective.name not in arrived]


def anchors(parameters: Mapping[str, Tensor], old: Sequence[Weighted], penalty: Penalty, seed: int) -> list[Anchor]:
    """What holds the weights near where they are.

    Parameters
    ----------
    old
        What importance is estimated on: in each of the processes that train together, which then hold to what the
        first one found, so that they do not drift apart.
    """
    if penalty.kind == "none" or not penalty.strength:
        return []
    if penalty.kind == "l2_sp":
        return [Anchor(parameters, penalty.strength, name="l2_sp")]
    importance = diagonal_fisher(parameters, old, batches=penalty.batches, seed=seed)
    all_processes().share(importance.values())
    return [Anchor(parameters, penalty.strength, relative(importance), name="ewc")]
