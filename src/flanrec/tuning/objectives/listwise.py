"""ListNet: the model's shares of some candidates shall be those of their grades."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from flanrec.tuning.objective import LossSum
from flanrec.tuning.objectives.candidates import PreparedChoices
from flanrec.tuning.objectives.choosing import ChoiceObjective


class ListwiseObjective(ChoiceObjective):
    """Divergence of the scores' softmax from the grades' softmax, over the candidates of a choice.

    Both are chances to come first (the paper's top-one probabilities). Grades may be made from ratings, or be a
    teacher's log beliefs, whose softmax is the beliefs themselves. The loss is the paper's cross-entropy without the
    entropy of the grades, which no model can change: zero where the model agrees with them.

    Inputs
    ------
    ========= =====================================================================
    draw_one  draws a `Choice` with finite grades; one grade more is e times the share
    backbone  the T5 that is tuned
    trie      of the whole catalogue; its rows' items are catalogue indices
    ========= =====================================================================

    References
    ----------
    Cao et al., "Learning to rank: from pairwise approach to listwise approach", 2007.
    """

    name = "listwise"

    def judge(self, predicted: Tensor, prepared: PreparedChoices) -> LossSum:
        """Sum the losses of choices; the count is their number."""
        grades = prepared.grades.masked_fill(~prepared.present, -math.inf).to(predicted.device)
        # A candidate that is not there has no share among the grades, and costs nothing.
        return LossSum(functional.kl_div(predicted, grades.softmax(dim=1), reduction="sum"), float(len(grades)))
