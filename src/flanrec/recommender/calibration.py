"""From two log odds to one probability that keeps its word."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """Logistic regression on the log odds of the like rates and of the words.

    It begins as the plain sum, as tuning has it, and is fitted on pairs that tuning did not see
    (Platt, "Probabilistic outputs for support vector machines", 1999).

    Attributes
    ----------
    rule, words, intercept
        ``log odds = rule * log odds of the rates + words * log odds of the words + intercept``.
    """

    rule: float = 1.0
    words: float = 1.0
    intercept: float = 0.0

    @classmethod
    def fit(cls, rule: Floats, words: Floats, liked: NDArray[np.bool_], *, penalty: float = 2.0) -> Calibration:
        """Fit on pairs by Newton's method with halved steps, with a squared `penalty` on leaving the plain sum.

        Fewer than ten pairs, or pairs with one answer only, leave it as it is.
        """
        if len(liked) < 10 or liked.all() or not liked.any():
            return cls()
        features = np.stack([rule, words, np.ones(len(rule))], axis=1)
        begin = np.array([1.0, 1.0, 0.0])
        strength = penalty * np.diag([1.0, 1.0, 0.1])

        def loss(weights: Floats) -> float:
            odds = features @ weights
            away = weights - begin
            return float((np.logaddexp(0, odds) - liked * odds).sum() + 0.5 * away @ strength @ away)

        weights = begin
        for _ in range(50):
            chance = _sigmoid(features @ weights)
            slope = features.T @ (chance - liked) + strength @ (weights - begin)
            curve = (features * (chance * (1 - chance))[:, None]).T @ features + strength
            step = np.linalg.solve(curve, slope)
            # Odds far from zero have hardly any curvature, and a whole step from there overshoots.
            before = loss(weights)
            while loss(weights - step) > before and np.abs(step).max() >= 1e-8:
                step = step / 2
            if np.abs(step).max() < 1e-8:
                break
            weights = weights - step
        return cls(*map(float, weights))

    @classmethod
    def chosen(cls, rule: Floats, words: Floats, liked: NDArray[np.bool_], *, folds: int = 5) -> Calibration:
        """As `fit`, but without the words where leaving them out predicts pairs left out better.

        Then the order of pairs is that of the like rates. Fewer than ten pairs a fold choose nothing.
        """
        both = cls.fit(rule, words, liked)
        if len(liked) < 10 * folds:
            return both
        silent = np.zeros(len(liked))
        loss = {True: 0.0, False: 0.0}
        fold = np.arange(len(liked)) % folds
        for left_out in range(folds):
            kept, out = fold != left_out, fold == left_out
            for heard in loss:
                told = words if heard else silent
                fitted = cls.fit(rule[kept], told[kept], liked[kept])
                odds = fitted.rule * rule[out] + fitted.words * told[out] + fitted.intercept
                loss[heard] += float((np.logaddexp(0, odds) - liked[out] * odds).sum())
        return both if loss[True] <= loss[False] else replace(cls.fit(rule, silent, liked), words=0.0)

    def probabilities(self, rule: Floats, words: Floats) -> Floats:
        """Probability of yes in [0, 1] for each pair."""
        return _sigmoid(self.rule * rule + self.words * words + self.intercept)

    def to_dict(self) -> dict[str, float]:
        """As plain numbers."""
        return asdict(self)


def _sigmoid(odds: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * odds)), dtype=np.float64)
