"""Bayesian personalised ranking: what was taken shall be likelier than what was not, pair by pair."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from flanrec.tuning.objective import LossSum
from flanrec.tuning.objectives.candidates import PreparedChoices
from flanrec.tuning.objectives.choosing import ChoiceObjective


class PairwiseObjective(ChoiceObjective):
    """``-log sigmoid(score(better) - score(worse))``, the mean over the pairs of a choice whose grades differ.

    The scores are log-probabilities of titles, so their difference is how much likelier one item is than the other.
    With the worse items drawn evenly among all that the user never took, as in the paper, the loss is least where
    that difference is the true one: it pulls the same way as the likelihood of titles.

    Inputs
    ------
    ========= =====================================================================
    draw_one  draws a `Choice` with at least two grades; an item is better than one
              of a lower grade
    backbone  the T5 that is tuned
    trie      of the whole catalogue; its rows' items are catalogue indices
    ========= =====================================================================

    References
    ----------
    Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback", 2009, the criterion BPR-Opt.
    """

    name = "pairwise"

    def judge(self, predicted: Tensor, prepared: PreparedChoices) -> LossSum:
        """Sum the losses of choices; the count is their number."""
        grades, present = prepared.grades.to(predicted.device), prepared.present.to(predicted.device)
        pairs = (grades[:, :, None] > grades[:, None, :]) & present[:, :, None] & present[:, None, :]
        losses = -functional.logsigmoid(predicted[:, :, None] - predicted[:, None, :]) * pairs
        means = losses.sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp(min=1)
        return LossSum(means.sum(), float(len(grades)))
