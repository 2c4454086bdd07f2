"""Token cross-entropy of instructions of one's own, which are tokenised already."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flanrec.backbone import Backbone
from flanrec.tuning.examples import Examples
from flanrec.tuning.objectives.answers import PreparedAnswers, SaidTokens, prepared_answers
from flanrec.tuning.packing import asked_tokens


class ExampleObjective(SaidTokens):
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
