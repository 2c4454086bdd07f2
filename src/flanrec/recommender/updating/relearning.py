"""Calibration and fusion after an update: the old ones, unless held-out events speak for new ones.

Both were learnt when the model was fitted, mostly on more events than an update sets apart, and what they weigh changes
slowly. New weights of the fusion therefore begin at the old ones, which count like many events, and its sources and
trees stay. New ones are taken only where they beat the old ones on events that arrived, by more than the standard error
of that gain, no event being judged by weights that it had a part in (the rule of `flanrec.ranking.verdicts`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flanrec.ranking.fusion import Fusion
from flanrec.ranking.loglinear import LogLinear
from flanrec.recommender.calibration import Calibration
from flanrec.recommender.updating.asking import Asked

Floats = NDArray[np.float64]

_FOLDS = 5
_FEWEST = 30
"""With fewer new events nothing is judged."""
_STRENGTH = 200.0
"""How many events the old weights of a fusion count like; they were learnt on about a thousand to three thousand."""


@dataclass(frozen=True)
class Choice:
    """Whether something was learnt again.

    Attributes
    ----------
    what
        ``fusion`` or ``calibration``.
    events
        New events that had a say; 0 where they were too few.
    gain, error
        Mean of what learning again gains on them, in NDCG@10 or in log-likelihood, and its standard error.
    """

    what: str
    events: int = 0
    gain: float = 0.0
    error: float = 0.0

    @property
    def taken(self) -> bool:
        """Whether the new one is taken."""
        return self.gain > self.error

    def to_text(self) -> str:
        """As one clause."""
        if not self.events:
            return f"{self.what} as it was: too few new events to judge another one"
        verb = "learnt again" if self.taken else "as it was"
        gain = f"{self.gain:+.4f} ± {self.error:.4f}"
        return f"{self.what} {verb}: over {self.events:,} new events another one gains {gain}"

    def to_dict(self) -> dict[str, object]:
        """As plain values, with the decision."""
        return {"events": self.events, "gain": self.gain, "error": self.error, "taken": self.taken}


def fusion_after(updated: Asked) -> tuple[Fusion, Choice]:
    """The fusion to take.

    Parameters
    ----------
    updated
        The updated model, which still has the old fusion.
    """
    old, new, pool = updated.model.parts.fusion, updated.held.new, updated.pool
    answers, names = updated.held.answers, old.base.names
    expected = dict(zip(names, old.base.weights, strict=True))
    base = LogLinear.fit(pool, answers, names, prior=expected, strength=_STRENGTH) if new.sum() >= _FEWEST else None
    if base is None:
        return old, Choice("fusion")
    left_out = base.left_out(pool, answers, prior=expected, strength=_STRENGTH)
    gains = updated.reached(old.trees.scores(pool, left_out)) - updated.fused
    choice = _choice("fusion", gains[new])
    return (replace(old, base=base), choice) if choice.taken else (old, choice)


def calibration_after(updated: Asked, most: int) -> tuple[Calibration, Choice]:
    """The calibration of the match probability to take.

    Parameters
    ----------
    updated
        The updated model, which still has the old calibration.
    most
        Most new events, and most old ones, that the T5 is asked about; where it has no say all are taken.
    """
    held, old = updated.held, updated.model.parts.calibration
    silent = not old.words
    most = len(held.new) if silent else most
    rows = np.concatenate([held.some(new=True, most=most), held.some(new=False, most=most)])
    rows = rows[~np.isnan(held.ratings[rows])]
    new = held.new[rows]
    if new.sum() < _FEWEST:
        return old, Choice("calibration")
    persons = [held.persons[row] for row in rows.tolist()]
    rule, words = updated.model.match_reading.odds(persons, held.answers[rows].tolist())
    liked = held.ratings[rows] >= updated.model.settings.liked_rating
    loss = np.empty(len(rows))
    fold = np.arange(len(rows)) % _FOLDS
    for left_out in range(_FOLDS):
        out = fold == left_out
        loss[out] = _losses(_fitted(rule[~out], words[~out], liked[~out], silent), rule[out], words[out], liked[out])
    choice = _choice("calibration", (_losses(old, rule, words, liked) - loss)[new])
    return (_fitted(rule, words, liked, silent), choice) if choice.taken else (old, choice)


def _fitted(rule: Floats, words: Floats, liked: NDArray[np.bool_], silent: bool) -> Calibration:
    if silent:
        return replace(Calibration.fit(rule, words, liked), words=0.0)
    return Calibration.chosen(rule, words, liked)


def _losses(calibration: Calibration, rule: Floats, words: Floats, liked: NDArray[np.bool_]) -> Floats:
    odds = calibration.rule * rule + calibration.words * words + calibration.intercept
    return np.asarray(np.logaddexp(0, odds) - liked * odds)


def _choice(what: str, gains: Floats) -> Choice:
    return Choice(what, len(gains), float(gains.mean()), float(gains.std() / np.sqrt(len(gains))))
