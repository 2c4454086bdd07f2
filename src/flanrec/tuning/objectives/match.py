"""Binary cross-entropy of the yes/no answer, on top of what like rates already tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from flanrec.backbone import Backbone
from flanrec.backbone.used_rows import head_rows
from flanrec.tuning.objective import LossSum, PredictedLoss
from flanrec.tuning.packing import Asked, answer_states, asked, said_weights


@dataclass(frozen=True)
class Judgement:
    """One user-item pair in words.

    Attributes
    ----------
    prompt
        The question whether the user would like the item.
    liked
        The answer.
    offset
        Log odds of yes before the words are read, from the like rates of user and item.
    """

    prompt: str
    liked: bool
    offset: float


class PreparedJudgements(NamedTuple):
    """Pairs for the model, each with the place of its answer; offsets and likes are float32 [n_pairs]."""

    asked: Asked
    offsets: Tensor
    liked: Tensor


class MatchObjective(PredictedLoss):
    """Binary cross-entropy of ``offset + log P(yes) - log P(no)``.

    The like rates of user and item are known without a language model. As an offset they leave the
    model the part they cannot tell, as in a generalised linear model with an offset term.

    Inputs
    ------
    ================ ====================================================
    draw_one         draws a `Judgement`
    yes_ids, no_ids  first tokens of the answers
    ================ ====================================================
    """

    name = "match"
    apart = True

    def __init__(
        self,
        backbone: Backbone,
        draw_one: Callable[[np.random.Generator], Judgement],
        yes_ids: list[int],
        no_ids: list[int],
        *,
        max_length: int = 192,
    ) -> None:
        self.backbone = backbone
        self.draw_one = draw_one
        self.yes_ids = yes_ids
        self.no_ids = no_ids
        self.max_length = max_length

    def draw(self, rng: np.random.Generator, size: int) -> list[Judgement]:
        """Draw pairs."""
        return [self.draw_one(rng) for _ in range(size)]

    def prepare(self, examples: list[Judgement]) -> PreparedJudgements:
        """Tokenise the questions; only what the decoder says first is asked."""
        answers, weights = [[self.yes_ids[:1]]] * len(examples), [[1.0]] * len(examples)
        return PreparedJudgements(
            asked(self.backbone, [example.prompt for example in examples], answers, weights, self.max_length),
            torch.tensor([example.offset for example in examples]),
            torch.tensor([float(example.liked) for example in examples]),
        )

    def predict(self, prepared: PreparedJudgements) -> Tensor:
        """The log-probabilities of yes and of no, offsets included: float32 [n_pairs, 2]."""
        device = self.backbone.device
        states = answer_states(self.backbone, prepared.asked)
        rows = head_rows(self.backbone.model, torch.tensor(self.yes_ids + self.no_ids, device=device))
        both = functional.linear(states, rows.to(states.dtype)).float()
        yes = both[:, : len(self.yes_ids)].logsumexp(dim=1)
        no = both[:, len(self.yes_ids) :].logsumexp(dim=1)
        odds = yes - no + prepared.offsets.to(device)
        return functional.logsigmoid(torch.stack([odds, -odds], dim=1))

    def place_weights(self, prepared: PreparedJudgements) -> Tensor:
        """All pairs count alike."""
        return said_weights(prepared.asked)

    def judge(self, predicted: Tensor, prepared: PreparedJudgements) -> LossSum:
        """Sum the binary cross-entropy over the pairs; the count is their number."""
        liked = prepared.liked.to(predicted.device)
        return LossSum(-(liked * predicted[:, 0] + (1 - liked) * predicted[:, 1]).sum(), float(len(liked)))
