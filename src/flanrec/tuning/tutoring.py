"""A larger T5 as the teacher of a smaller one, and what it answered before the tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flanrec.backbone import Backbone
from flanrec.tuning.objectives.answers import Question


@dataclass(frozen=True)
class TaughtAnswers:
    """Questions with what a teacher answered, by task family.

    References
    ----------
    Kim and Rush, "Sequence-level knowledge distillation", 2016.
    """

    questions: Mapping[str, Sequence[Question]]

    def __len__(self) -> int:
        return sum(map(len, self.questions.values()))

    def drawing(self, family: str) -> Callable[[np.random.Generator], Question] | None:
        """What draws one of a family's questions; None where the teacher answered none."""
        known = self.questions.get(family, ())
        if not known:
            return None
        return lambda rng: known[int(rng.integers(len(known)))]


@dataclass(frozen=True)
class Tutor:
    """Who teaches a T5.

    Attributes
    ----------
    backbone
        The teacher, in evaluation mode; nothing changes it.
    sequences
        What it answered; None where only its probabilities are taught.
    """

    backbone: Backbone
    sequences: TaughtAnswers | None = None
