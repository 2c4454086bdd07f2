"""Token cross-entropy of instructions of one's own, which are tokenised already."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from flanrec.backbone import Backbone
from flanrec.tuning.examples import Examples
from flanrec.tuning.objective import LossSum
from flanrec.tuning.objectives.answers import (
    PreparedAnswers,
    answer_loss,
    answer_predictions,
    judged_answers,
    prepared_answers,
)
from flanrec.tuning.packing import asked_tokens, said_weights


class ExampleObjective:
    """Cross-entropy of the targets' tokens, the mean over each target.

    Inputs
    ------
    ======== ======================================================
    examples prompts and targets as tokens, in a file that is mapped
    backbone the T5 that is tuned
    rows     vocabulary rows among which each token is chosen
    ======== ======================================================
    """

    name = "examples"
    apart = True

    def __init__(
        self,
        backbone: Backbone,
        examples: Examples,
        rows: NDArray[np.int64] | None = None,
        *,
        smoothing: float = 0.0,
    ) -> None:
        self.backbone = backbone
        self.examples = examples
        self.rows = rows
        self.smoothing = smoothing

    def draw(self, rng: np.random.Generator, size: int) -> list[int]:
        """Draw numbers of examples."""
        return [int(number) for number in rng.integers(len(self.examples), size=size)]

    def prepare(self, examples: list[int]) -> PreparedAnswers:
        """Read the tokens from the file."""
        prompts, targets = zip(*(self.examples.of(number) for number in examples), strict=True)
        weights = [[1 / len(target)] for target in targets]
        together = asked_tokens(self.backbone, prompts, [[target] for target in targets], weights)
        return prepared_answers(together, self.rows, float(len(examples)))

    def predict(self, prepared: PreparedAnswers) -> Tensor:
        """The log-probability of every token at every place that is said: float32 [n_tokens, n_rows]."""
        return answer_predictions(self.backbone, prepared)

    def place_weights(self, prepared: PreparedAnswers) -> Tensor:
        """The weight of each said token."""
        return said_weights(prepared.asked)

    def judge(self, predicted: Tensor, prepared: PreparedAnswers) -> LossSum:
        """As `loss`, of predictions."""
        return judged_answers(predicted, prepared, self.smoothing)

    def loss(self, prepared: PreparedAnswers) -> LossSum:
        """Sum the cross-entropy over the targets; the count is their number."""
        return answer_loss(self.backbone, prepared, self.smoothing)
