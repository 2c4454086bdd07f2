"""Giving up a trial halfway, where it is worse than most others were at the same point."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from flanrec.tuning.callbacks import GivenUpError

if TYPE_CHECKING:
    import optuna

_UNJUDGED = 5
_COMPARED = 3


class Point(NamedTuple):
    """What a trial measured on its way."""

    stage: str
    """Of the training."""
    share: float
    """Of the stage's steps that were made, above 0 and at most 1."""
    value: float


def median_pruner() -> optuna.pruners.BasePruner:
    """Gives a trial up whose best value so far is below the median of the whole trials' values at the same point.

    The first five whole trials are let be, and a point where fewer than three were measured.

    References
    ----------
    Golovin et al., "Google Vizier: A service for black-box optimization", KDD 2017, the median stopping rule.
    """
    import optuna

    return optuna.pruners.MedianPruner(n_startup_trials=_UNJUDGED, n_min_trials=_COMPARED)


class Course:
    """Takes down what a trial tells on its way, and ends it where it is to be given up.

    Parameters
    ----------
    asked
        The trial to judge; None judges nothing.
    decisive
        The stage whose values foretell the measurement; None judges nothing.
    """

    def __init__(self, asked: optuna.Trial | None = None, decisive: str | None = None) -> None:
        self.asked = asked
        self.decisive = decisive
        self.points: list[Point] = []

    def __call__(self, stage: str, share: float, value: float) -> None:
        """Take down a value after a share of a stage's steps.

        Raises
        ------
        GivenUpError
            The trial is worse than most at this point. At the end of a stage nothing is given up: the rest is short.
        """
        self.points.append(Point(stage, share, value))
        if self.asked is None or stage != self.decisive or not math.isfinite(value):
            return
        self.asked.report(value, place_of(share))
        if share < 1 and self.asked.should_prune():
            best = max(places_of(self.points, stage).values())
            raise GivenUpError(
                f"{best:.4f} after {place_of(share)} % of the steps of {stage}, below the median of the others there"
            )


def place_of(share: float) -> int:
    """The point of a course by which trials are compared: whole per cent, at least 1."""
    return max(1, round(100 * share))


def places_of(curve: Iterable[Point], decisive: str | None) -> dict[int, float]:
    """The values of a trial's decisive stage by `place_of`."""
    return {
        place_of(point.share): point.value for point in curve if point.stage == decisive and math.isfinite(point.value)
    }
