"""Direct preference optimisation: what a user took or liked over what the user passed by or did not like."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from flanrec.backbone import Backbone
from flanrec.catalogue.trie import TitleTrie
from flanrec.errors import SettingsError
from flanrec.tuning.objective import LossSum
from flanrec.tuning.objectives.candidates import Choice, PreparedChoices, among_candidates
from flanrec.tuning.objectives.choosing import ChoiceObjective


class PreferenceObjective(ChoiceObjective):
    """Loss of chosen and rejected items by how far the model has moved from where it started.

    With m the log-probability of an item under the model less that under the reference, the loss of a chosen item c is
    ``log(1 + sum over the rejected r of exp(beta * (m_r - m_c)))``. With one rejected item that is the loss of DPO,
    ``-log sigmoid(beta * (m_c - m_r))``, with several that of S-DPO. Items that the model has already moved far enough
    apart pull no more, so it stays near the reference in all else. The reference takes as much memory as the model
    and one more forward pass, without a gradient and without dropout.

    Inputs
    ------
    ========= =====================================================================
    draw_one  draws a `Choice`: grade 1 for what was chosen, 0 for what was rejected,
              at least one of each
    backbone  the T5 that is tuned
    reference as it was before, frozen; it must share no weight with the tuned one
    trie      of the whole catalogue; its rows' items are catalogue indices
    beta      how soon a movement is far enough: 0.1 asks for ten times that of 1,
              which suits titles, whose log-probabilities move by a few nats
    ========= =====================================================================

    Raises
    ------
    SettingsError
        `beta` is not above 0, or the reference is the tuned model itself.

    References
    ----------
    Rafailov et al., "Direct preference optimization: your language model is secretly a reward model", 2023, equation
    7; Chen et al., "On softmax direct preference optimization for recommendation", 2024.
    """

    name = "preference"

    def __init__(
        self,
        backbone: Backbone,
        reference: Backbone,
        trie: TitleTrie,
        draw_one: Callable[[np.random.Generator], Choice],
        *,
        beta: float = 1.0,
        max_length: int = 192,
    ) -> None:
        if not beta > 0:
            raise SettingsError(f"beta is {beta}; it must be above 0, such as 1.")
        if reference.model is backbone.model:
            raise SettingsError("The reference is the tuned model itself, which never moves away from it; give a copy.")
        super().__init__(backbone, trie, draw_one, max_length=max_length)
        self.reference = reference
        self.beta = beta

    def judge(self, predicted: Tensor, prepared: PreparedChoices) -> LossSum:
        """Sum the losses of choices; the count is their number."""
        with torch.no_grad():
            before = among_candidates(self.scorer.scores(prepared, self.reference))
        # Of shares among the candidates only differences count here, which are those of the scores.
        moved = self.beta * (predicted - before)
        chosen = (prepared.grades > 0).to(moved.device)
        rejected = (prepared.present & (prepared.grades <= 0)).to(moved.device)
        against = moved.masked_fill(~rejected, -math.inf).logsumexp(dim=1, keepdim=True)
        losses = (functional.softplus(against - moved) * chosen).sum(dim=1) / chosen.sum(dim=1)
        return LossSum(losses.sum(), float(len(losses)))
