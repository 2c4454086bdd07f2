"""Token cross-entropy of answers in free words: ratings, summaries, descriptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from flanrec.backbone import Backbone
from flanrec.backbone.used_rows import head_rows
from flanrec.tuning.objective import LossSum, PredictedLoss
from flanrec.tuning.packing import Asked, answer_states, asked, said_weights


@dataclass(frozen=True)
class Question:
    """One instruction and one or several answers that it may get.

    Attributes
    ----------
    prompt
        What the encoder reads, once for all answers.
    answers
        Texts.
    weights
        Weight of each answer's loss.
    items
        Catalogue indices of the answers where they are titles, else empty.
    excluded
        Items that cannot be the answer, such as those a user has seen; none of `items`.
    beliefs
        How probable a teacher holds every item of the catalogue to be the answer, float [n_items], where there
        is a teacher; the answers are then draws from it.
    """

    prompt: str
    answers: tuple[str, ...]
    weights: tuple[float, ...]
    items: tuple[int, ...] = ()
    excluded: tuple[int, ...] = ()
    beliefs: NDArray[np.float64] | None = field(default=None, compare=False)


class PreparedAnswers(NamedTuple):
    """Questions for the model.

    Attributes
    ----------
    rows : int64 [n_rows] or None
        The vocabulary rows among which each token is chosen; None for all.
    labels : int64 [n_tokens]
        The place of each said token among them.
    weight : float
        Of all answers together.
    """

    asked: Asked
    rows: Tensor | None
    labels: Tensor
    weight: float


class SaidTokens(PredictedLoss):
    """Cross-entropy of the tokens of packed answers.

    Attributes
    ----------
    backbone
        The T5 that is tuned.
    smoothing
        Label smoothing: the share of what is taught that goes to all rows alike.
    """

    backbone: Backbone
    smoothing: float

    def predict(self, prepared: PreparedAnswers) -> Tensor:
        """The log-probability of every row at every place that is said: float32 [n_tokens, n_rows]."""
        model = self.backbone.model
        states = answer_states(self.backbone, prepared.asked)
        if prepared.rows is None:
            logits: Tensor = model.get_output_embeddings()(states)
        else:
            head = head_rows(model, prepared.rows.to(states.device))
            logits = functional.linear(states, head.to(states.dtype))
        return logits.float().log_softmax(dim=1)

    def place_weights(self, prepared: PreparedAnswers) -> Tensor:
        """The weight of each said token."""
        return said_weights(prepared.asked)

    def judge(self, predicted: Tensor, prepared: PreparedAnswers) -> LossSum:
        """Sum the weighted cross-entropy over all answers; the count is the answers' total weight."""
        labels, weights = (one.to(predicted.device) for one in (prepared.labels, self.place_weights(prepared)))
        losses = functional.nll_loss(predicted, labels, reduction="none")
        if self.smoothing:
            losses = (1 - self.smoothing) * losses - self.smoothing * predicted.mean(dim=1)
        return LossSum((losses * weights).sum(), prepared.weight)


class AnswerObjective(SaidTokens):
    """Cross-entropy of the answers' tokens, encoder and cross-attention run once a prompt.

    Inputs
    ------
    ========= =====================================================
    draw_one  draws a `Question`
    backbone  the T5 that is tuned
    rows      vocabulary rows in use, int64 ascending; None for all
    ========= =====================================================

    The loss of an answer is the mean over its tokens, so that a long text counts no more than a number.

    References
    ----------
    Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text transformer", 2020.
    """

    apart = True

    def __init__(
        self,
        name: str,
        backbone: Backbone,
        draw_one: Callable[[np.random.Generator], Question],
        *,
        rows: NDArray[np.int64] | None = None,
        smoothing: float = 0.0,
        max_length: int = 192,
    ) -> None:
        self.name = name
        self.backbone = backbone
        self.draw_one = draw_one
        self.rows = rows
        self.smoothing = smoothing
        self.max_length = max_length

    def draw(self, rng: np.random.Generator, size: int) -> list[Question]:
        """Draw questions."""
        return [self.draw_one(rng) for _ in range(size)]

    def prepare(self, examples: list[Question]) -> PreparedAnswers:
        """Tokenise the questions and their answers."""
        texts = [text for example in examples for text in example.answers]
        tokens = iter(self.backbone.tokenizer(texts, verbose=False)["input_ids"])
        answers = [[next(tokens) for _ in example.answers] for example in examples]
        weights = [
            [weight / len(answer) for weight, answer in zip(example.weights, row, strict=True)]
            for example, row in zip(examples, answers, strict=True)
        ]
        together = asked(self.backbone, [example.prompt for example in examples], answers, weights, self.max_length)
        return prepared_answers(together, self.rows, float(sum(sum(example.weights) for example in examples)))


def prepared_answers(asked: Asked, rows: NDArray[np.int64] | None, weight: float) -> PreparedAnswers:
    """What `SaidTokens` takes of packed answers whose weights add up to `weight`; `rows` as in `AnswerObjective`."""
    labels = asked.packed.labels[asked.packed.said]
    if rows is None:
        return PreparedAnswers(asked, None, labels, weight)
    # An answer may say what no text announced: it joins, so that no label is ever lost.
    among = torch.from_numpy(np.union1d(rows, labels.numpy()))
    return PreparedAnswers(asked, among, torch.searchsorted(among, labels), weight)
