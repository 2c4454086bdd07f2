"""R-Drop: what a model says under one dropout it shall say under another."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from flanrec.tuning.around import Around
from flanrec.tuning.objective import LossSum, Objective, Predicting


def consistent(objective: Objective, alpha: float) -> Objective:
    """The objective with R-Drop where it predicts distributions; others, and all at alpha 0, stay as they are."""
    return ConsistentObjective(objective, alpha) if alpha > 0 and isinstance(objective, Predicting) else objective


class ConsistentObjective(Around):
    """An objective whose examples are read twice: both losses, and `alpha` times how far the two readings differ.

    How far is ``(KL(p|q) + KL(q|p)) / 2`` of the two distributions at each place, weighted as the place's loss is.
    Without dropout both readings are one, and the loss is twice the objective's. It costs twice the time and memory.
    Around a `DistilledObjective` the teacher is asked twice as well, though it says the same both times.

    Inputs
    ------
    ========= ========================================================================
    objective any that has `predict`, `place_weights` and `judge` beside loss and draws
    ========= ========================================================================

    References
    ----------
    Liang et al., "R-Drop: regularized dropout for neural networks", 2021, equations 1 to 3.
    """

    objective: Predicting

    def __init__(self, objective: Predicting, alpha: float) -> None:
        super().__init__(objective)
        self.alpha = alpha

    def loss(self, prepared: Any) -> LossSum:
        """Sum both losses and the weighted divergence; the count is the objective's."""
        first, second = self.objective.predict(prepared), self.objective.predict(prepared)
        one, two = self.objective.judge(first, prepared), self.objective.judge(second, prepared)
        weights = self.objective.place_weights(prepared).to(first.device)
        apart = (symmetric_divergence(first, second) * weights).sum()
        return LossSum(one.total + two.total + self.alpha * apart, one.count)


def symmetric_divergence(first: Tensor, second: Tensor) -> Tensor:
    """``(KL(p|q) + KL(q|p)) / 2`` of each row.

    Parameters
    ----------
    first, second : [n, n_choices]
        Log-probabilities, all finite.

    Returns
    -------
    Tensor [n]
    """
    return ((first.exp() - second.exp()) * (first - second)).sum(dim=1) / 2
