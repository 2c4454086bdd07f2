"""Sampled softmax over items: what was taken among some drawn items, corrected by how they were drawn."""

from __future__ import annotations

from torch import Tensor

from flanrec.tuning.objective import LossSum
from flanrec.tuning.objectives.candidates import PreparedChoices, among_candidates
from flanrec.tuning.objectives.choosing import ChoiceObjective


class SampledObjective(ChoiceObjective):
    """Cross-entropy of the taken item among itself and drawn ones, each score lessened by the log of its draws.

    Without the correction popular items, drawn more often, would be pushed down. With it the loss is least where the
    scores are the true log-probabilities of all items, however few are drawn; but for draws of the taken item itself,
    which are left out as is usual.

    The softmax over all items is what `TitleObjective` computes, exactly and at the cost of one title, because the trie
    makes it a softmax over the branches at each token. This one reads as many titles as there are candidates: it
    compares whole titles, where that one compares beginnings, and the draws decide which items are compared.

    Inputs
    ------
    ========= =====================================================================
    draw_one  draws a `Choice`: grade 1 for the taken item, 0 for the drawn ones, and
              corrections, the log of how often each is expected
    backbone  the T5 that is tuned
    trie      of the whole catalogue; its rows' items are catalogue indices
    ========= =====================================================================

    References
    ----------
    Bengio and Senécal, "Adaptive importance sampling to accelerate training of a neural probabilistic language model",
    2008; Yi et al., "Sampling-bias-corrected neural modeling for large corpus item recommendations", 2019; that any
    number of draws will do: Ma and Collins, "Noise contrastive estimation and negative sampling for conditional
    models: consistency and statistical efficiency", 2018.
    """

    name = "sampled"

    def predict(self, prepared: PreparedChoices) -> Tensor:
        """Log-probabilities among the candidates of each choice, corrected: float32 [n_choices, n_candidates]."""
        scores = self.scorer.scores(prepared)
        return among_candidates(scores - prepared.corrections.to(scores.device))

    def judge(self, predicted: Tensor, prepared: PreparedChoices) -> LossSum:
        """Sum the losses of choices; the count is their number."""
        return LossSum(-(prepared.grades.to(predicted.device) * predicted).sum(), float(len(prepared.grades)))
