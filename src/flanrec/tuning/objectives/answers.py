"""Token cross-entropy of answers in words: titles, ratings, summaries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from flanrec.backbone import Backbone
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
    """

    prompt: str
    answers: tuple[str, ...]
    weights: tuple[float, ...]


class AnswerObjective:
    """Cross-entropy of the answers' tokens, the encoder run once a prompt.

    Inputs
    ------
    ========= =====================================================
    draw_one  draws a `Question`
    backbone  the T5 that is tuned
    ========= =====================================================

    The loss of an answer is the mean over its tokens' negative log-probabilities times the number of
    tokens, so a title counts by its probability as a whole, as generation ranks it.

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
        model, device = self.backbone.model, self.backbone.device
        ids, mask = self.backbone.encode_texts([example.prompt for example in examples], self.max_length)
        encoded = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        owner = torch.tensor([row for row, example in enumerate(examples) for _ in example.answers], device=device)
        labels, present = self.backbone.encode_texts([text for example in examples for text in example.answers])
        weights = torch.tensor([weight for example in examples for weight in example.weights], device=device)
        start = torch.full_like(labels[:, :1], model.config.decoder_start_token_id)
        states = model.get_decoder()(
            input_ids=torch.cat([start, labels[:, :-1]], dim=1),
            attention_mask=present,
            encoder_hidden_states=encoded[owner],
            encoder_attention_mask=mask[owner],
            use_cache=False,
        ).last_hidden_state
        if getattr(model.config, "scale_decoder_outputs", False):
            states = states * model.config.d_model**-0.5
        said = present.bool()
        logits = model.get_output_embeddings()(states[said]).float()
        losses = functional.cross_entropy(logits, labels[said], reduction="none", label_smoothing=self.smoothing)
        per_token = weights[:, None].expand_as(said)[said]
        return LossSum((losses * per_token).sum(), float(weights.sum()))
