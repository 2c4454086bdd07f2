"""Token cross-entropy of answers in free words: ratings, summaries, descriptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch.nn import functional

from flanrec.backbone import Backbone
from flanrec.tuning.packing import answer_states, pack
from flanrec.tuning.steps import LossSum


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


class AnswerObjective:
    """Cross-entropy of the answers' tokens, encoder and cross-attention run once a prompt.

    Inputs
    ------
    ========= =====================================================
    draw_one  draws a `Question`
    backbone  the T5 that is tuned
    ========= =====================================================

    The loss of an answer is the mean over its tokens, so that a long text counts no more than a number.

    References
    ----------
    Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text transformer", 2020.
    """

    def __init__(
        self,
        name: str,
        backbone: Backbone,
        draw_one: Callable[[np.random.Generator], Question],
        *,
        smoothing: float = 0.0,
        max_length: int = 192,
    ) -> None:
        self.name = name
        self.backbone = backbone
        self.draw_one = draw_one
        self.smoothing = smoothing
        self.max_length = max_length

    def draw(self, rng: np.random.Generator, size: int) -> list[Question]:
        """Draw questions."""
        return [self.draw_one(rng) for _ in range(size)]

    def loss(self, examples: list[Question]) -> LossSum:
        """Sum the weighted cross-entropy over all answers; the count is the answers' total weight."""
        texts = [text for example in examples for text in example.answers]
        tokens = iter(self.backbone.tokenizer(texts, verbose=False)["input_ids"])
        rows = [[next(tokens) for _ in example.answers] for example in examples]
        packed = pack(
            rows,
            [
                [weight / len(answer) for weight, answer in zip(example.weights, row, strict=True)]
                for example, row in zip(examples, rows, strict=True)
            ],
            self.backbone.model.config.decoder_start_token_id,
            self.backbone.tokenizer.pad_token_id,
        )
        states = answer_states(self.backbone, [example.prompt for example in examples], packed, self.max_length)
        logits = self.backbone.model.get_output_embeddings()(states).float()
        labels, weights = (one[packed.said].to(logits.device) for one in (packed.labels, packed.weights))
        losses = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=self.smoothing)
        return LossSum((losses * weights).sum(), float(sum(sum(example.weights) for example in examples)))
