"""What a larger T5 holds probable, as targets beside the answers: at forks of titles, tokens of texts, yes and no."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flanrec.errors import SettingsError
from flanrec.tuning.around import Around
from flanrec.tuning.objective import LossSum, Predicting


class DistilledObjective(Around):
    """An objective of a student, and the same objective of its teacher, who says what is probable at each place.

    ``(1 - share) * loss + share * T**2 * sum of weight * KL(teacher | student)``, both distributions softened by the
    temperature T. What is chosen among is what the objective's own loss is over: the branches that are open in the
    trie with what the crowd takes, the vocabulary rows in use, or yes and no with the like rates. Places weigh as in
    the objective's loss. Softening keeps, of what is improbable, how improbable it is; T**2 keeps the gradient's size.

    Width and depth of the two may differ, but they must read and say the same tokens: see `token_difference` of
    `flanrec.backbone.vocabulary`.

    Inputs
    ------
    ========= ===================================================
    objective of the student; draws and prepares the examples
    teacher   the same objective of a T5 that is not changed
    ========= ===================================================

    Raises
    ------
    SettingsError
        `temperature` is not above 0, or `share` is not from 0 to 1.

    References
    ----------
    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015.
    """

    objective: Predicting

    def __init__(
        self, objective: Predicting, teacher: Predicting, *, temperature: float = 2.0, share: float = 0.5
    ) -> None:
        if temperature <= 0 or not 0 <= share <= 1:
            raise SettingsError(
                f"temperature is {temperature} and share {share}; the one must be above 0, the other from 0 to 1"
            )
        super().__init__(objective)
        self.teacher = teacher
        self.temperature = temperature
        self.share = share

    def predict(self, prepared: Any) -> Tensor:
        """What the student holds probable, not softened: [n_places, n_choices]."""
        return self.objective.predict(prepared)

    def place_weights(self, prepared: Any) -> Tensor:
        """The objective's own."""
        return self.objective.place_weights(prepared)

    def judge(self, predicted: Tensor, prepared: Any) -> LossSum:
        """As `loss`, of the student's predictions; the teacher is asked here."""
        own = self.objective.judge(predicted, prepared)
        with torch.no_grad():
            told = self.teacher.predict(prepared)
        weights = self.objective.place_weights(prepared).to(predicted.device)
        apart = divergence(softened(told, self.temperature), softened(predicted, self.temperature))
        taught = self.temperature**2 * (apart * weights).sum()
        return LossSum((1 - self.share) * own.total + self.share * taught, own.count)

    def loss(self, prepared: Any) -> LossSum:
        """Sum both parts; the count is the objective's."""
        return self.judge(self.predict(prepared), prepared)


def softened(predicted: Tensor, temperature: float) -> Tensor:
    """The log-probabilities of logits that are divided by a temperature; known up to a constant, logits are enough.

    Examples
    --------
    >>> [round(value, 4) for value in softened(torch.tensor([[0.8, 0.2]]).log(), 2.0).exp()[0].tolist()]
    [0.6667, 0.3333]
    """
    return (predicted / temperature).log_softmax(dim=1)


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """``KL(first | second)`` of each row.

    Parameters
    ----------
    first, second : [n, n_choices]
        Log-probabilities, all finite.

    Returns
    -------
    Tensor [n]
    """
    return (first.exp() * (first - second)).sum(dim=1)
