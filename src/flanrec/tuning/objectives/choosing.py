"""What the objectives on choices share: how they are drawn, laid out and read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from flanrec.backbone import Backbone
from flanrec.catalogue.trie import TitleTrie
from flanrec.tuning.objective import LossSum, PredictedLoss
from flanrec.tuning.objectives.candidates import CandidateScorer, Choice, PreparedChoices, among_candidates


class ChoiceObjective(PredictedLoss):
    """A loss of what the model holds of the candidates of choices.

    Inputs
    ------
    ========= =====================================================================
    draw_one  draws a `Choice`
    backbone  the T5 that is tuned
    trie      of the whole catalogue; its rows' items are catalogue indices
    ========= =====================================================================
    """

    name: str
    apart = True

    def __init__(
        self,
        backbone: Backbone,
        trie: TitleTrie,
        draw_one: Callable[[np.random.Generator], Choice],
        *,
        max_length: int = 192,
    ) -> None:
        self.scorer = CandidateScorer(backbone, trie, max_length=max_length)
        self.draw_one = draw_one

    def draw(self, rng: np.random.Generator, size: int) -> list[Choice]:
        """Draw choices."""
        return [self.draw_one(rng) for _ in range(size)]

    def prepare(self, examples: list[Choice]) -> PreparedChoices:
        """Tokenise the choices, and find the forks on the way to their candidates."""
        return self.scorer.prepare(examples)

    def predict(self, prepared: PreparedChoices) -> Tensor:
        """Log-probabilities among the candidates of each choice alone: float32 [n_choices, n_candidates].

        They differ from the scores by the same for all candidates of a choice.
        """
        return among_candidates(self.scorer.scores(prepared))

    def place_weights(self, prepared: PreparedChoices) -> Tensor:
        """All choices count alike."""
        return torch.ones(len(prepared.grades))

    @abstractmethod
    def judge(self, predicted: Tensor, prepared: PreparedChoices) -> LossSum:
        """Sum the losses of choices; the count is their number."""
