"""What is learnt first: short examples before long ones, or families of tasks one after another.

Both change with the progress of a run alone, so that of one seed every step has its own examples, whether or not the
run was interrupted before it. Both end in the mixture that a run without a curriculum has all the time.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flanrec.tuning.around import Around
from flanrec.tuning.objective import Objective, Weighted

Curriculum = Literal["none", "easy-first", "families"]

_START, _FULL = 0.1, 0.5
"""Competence at the first step, and the progress from which it is whole."""
_PROBES = 128
_TRIES = 40
_PHASES: tuple[tuple[str, ...], ...] = (
    ("item_from_description", "description_from_item", "review_rating", "examples"),
    ("profile", "rating", "rating_regression", "match", "pick"),
)
"""Families in the order of their turns: what items are, what users think of them; all others come last."""


def arranged(mixture: Sequence[Weighted], curriculum: Curriculum, seed: int) -> list[Weighted]:
    """A mixture under a curriculum.

    Parameters
    ----------
    curriculum
        ``easy-first`` wraps every objective whose examples have a prompt, ``families`` gives each a beginning.
    seed
        Decides the examples by which an objective's prompts are measured.
    """
    if curriculum == "easy-first":
        return [replace(one, objective=easy_first(one.objective, seed)) for one in mixture]
    if curriculum == "families":
        begins = beginnings([one.objective.name for one in mixture])
        return [replace(one, since=begins[one.objective.name]) for one in mixture]
    return list(mixture)


def competence(progress: float, start: float = _START, full: float = _FULL) -> float:
    """The share of the examples, easiest first, that may come: rises with the root of progress.

    Parameters
    ----------
    start
        At progress 0.
    full
        The progress at which it is 1.

    References
    ----------
    Platanios et al., "Competence-based curriculum learning for neural machine translation", 2019, equation 8 with p=2.

    Examples
    --------
    >>> competence(0.0), round(competence(0.25), 3), competence(0.5), competence(1.0)
    (0.1, 0.711, 1.0, 1.0)
    """
    return min(1.0, math.sqrt(progress / full * (1 - start**2) + start**2))


def beginnings(names: Sequence[str], full: float = _FULL) -> dict[str, float]:
    """From which progress each family has its turn: one phase after another, all of them from `full` on.

    A family that has begun goes on. So the weight of no example falls before the end and the mixture becomes wider all
    the time, which is what makes it a curriculum (Bengio et al., "Curriculum learning", 2009, section 3).

    Examples
    --------
    >>> beginnings(["sequential", "match", "item_from_description"])
    {'sequential': 0.5, 'match': 0.25, 'item_from_description': 0.0}
    >>> beginnings(["sequential", "match"]), beginnings(["sequential"])
    ({'sequential': 0.5, 'match': 0.0}, {'sequential': 0.0})
    """
    phase_of = {name: next((at for at, some in enumerate(_PHASES) if name in some), len(_PHASES)) for name in names}
    there = sorted(set(phase_of.values()))
    return {name: full * there.index(phase) / max(1, len(there) - 1) for name, phase in phase_of.items()}


def easy_first(objective: Objective, seed: int) -> Objective:
    """The objective with short prompts first; one whose examples have no prompt stays as it is."""
    rng = np.random.default_rng([seed, 2, zlib.crc32(objective.name.encode())])
    probe = objective.draw(rng, 1)
    if not probe or not hasattr(probe[0], "prompt"):
        return objective
    probes = probe + [example for _ in range(_PROBES - len(probe)) for example in objective.draw(rng, 1)]
    return EasyFirst(objective, np.sort([difficulty(example) for example in probes]))


def difficulty(example: Any) -> int:
    """How hard an example is: the characters of its prompt, which grow with the history it tells."""
    return len(example.prompt)


class EasyFirst(Around):
    """An objective whose short prompts come first: at competence c only those of the shortest share c are drawn.

    An example is drawn again until its prompt is short enough, or the shortest of some is taken. That is a draw from
    the objective's own examples up to a length, uniform where theirs is.

    Inputs
    ------
    ========= ======================================================================
    objective any whose examples have a prompt
    lengths   int64 [n], ascending: the characters of the prompts of some draws of it
    ========= ======================================================================

    References
    ----------
    Platanios et al., "Competence-based curriculum learning for neural machine translation", 2019, with the length of
    the source as difficulty.
    """

    pace = "easy-first"

    def __init__(self, objective: Objective, lengths: NDArray[np.int64]) -> None:
        super().__init__(objective)
        self.lengths = lengths

    def draw_at(self, rng: np.random.Generator, size: int, progress: float) -> list[Any]:
        """Draw examples that are short enough for the progress of the run."""
        allowed = competence(progress)
        if allowed >= 1:
            return self.objective.draw(rng, size)
        longest = self.lengths[max(0, math.ceil(allowed * len(self.lengths)) - 1)]
        return [self._short(rng, int(longest)) for _ in range(size)]

    def _short(self, rng: np.random.Generator, longest: int) -> Any:
        best: Any = None
        for _ in range(_TRIES):
            found = self.objective.draw(rng, 1)[0]
            if difficulty(found) <= longest:
                return found
            if best is None or difficulty(found) < difficulty(best):
                best = found
        return best
