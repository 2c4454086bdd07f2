"""Token cross-entropy of answers in words: titles, ratings, summaries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
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
    """Cross-entropy of the answers' tokens, encoder and cross-attention run once a prompt.

    Inputs
    ------
    ========= =====================================================
    draw_one  draws a `Question`
    backbone  the T5 that is tuned
    ========= =====================================================

    The loss of an answer is the sum over its tokens, so a title counts by its probability as a whole, as
    generation ranks it.

    Parameters
    ----------
    rows
        The only tokens that answers can have, such as those of all titles: the softmax is over these, as
        generation's ``catalogue`` normalisation is. All tokens by default.

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
        rows: Sequence[int] | None = None,
        smoothing: float = 0.0,
        max_length: int = 192,
    ) -> None:
        self.name = name
        self.backbone = backbone
        self.draw_one = draw_one
        self.smoothing = smoothing
        self.max_length = max_length
        self.rows, self._place = _places(backbone, rows)

    def draw(self, rng: np.random.Generator, size: int) -> list[Question]:
        """Draw questions."""
        return [self.draw_one(rng) for _ in range(size)]

    def loss(self, examples: list[Question]) -> LossSum:
        """Sum the weighted cross-entropy over all answers; the count is the answers' total weight."""
        model, device = self.backbone.model, self.backbone.device
        ids, mask = self.backbone.encode_texts([example.prompt for example in examples], self.max_length)
        encoded = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        packed = _pack(self.backbone, examples)
        states = model.get_decoder()(
            input_ids=packed.inputs.to(device),
            attention_mask=_own_answer_only(packed.owner, encoded.dtype).to(device),
            encoder_hidden_states=encoded,
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state
        if getattr(model.config, "scale_decoder_outputs", False):
            states = states * model.config.d_model**-0.5
        said = (packed.owner >= 0).to(device)
        labels = packed.labels.to(device)[said]
        if self.rows is None:
            logits = model.get_output_embeddings()(states[said])
        else:
            logits = functional.linear(states[said], model.get_output_embeddings().weight[self.rows])
            labels = self._place[labels]
        losses = functional.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=self.smoothing)
        total = (losses * packed.weights.to(device)[said]).sum()
        return LossSum(total, float(sum(weight for example in examples for weight in example.weights)))


def _places(backbone: Backbone, rows: Sequence[int] | None) -> tuple[Tensor | None, Tensor]:
    """The rows as a tensor, and the place of each token among them (0 for tokens that are not)."""
    place = torch.zeros(int(backbone.model.config.vocab_size), dtype=torch.long, device=backbone.device)
    if rows is None:
        return None, place
    chosen = torch.tensor(list(rows), dtype=torch.long, device=backbone.device)
    place[chosen] = torch.arange(len(chosen), device=backbone.device)
    return chosen, place


@dataclass(frozen=True)
class _Packed:
    """The answers of each prompt in one decoder row: all [n_prompts, longest].

    ``owner`` numbers the answers of a row and is -1 at its end.
    """

    inputs: Tensor
    labels: Tensor
    owner: Tensor
    weights: Tensor


def _pack(backbone: Backbone, examples: list[Question]) -> _Packed:
    texts = [text for example in examples for text in example.answers]
    tokens: list[list[int]] = backbone.tokenizer(texts, verbose=False)["input_ids"]
    answers = iter(tokens)
    rows = [[next(answers) for _ in example.answers] for example in examples]
    longest = max(sum(map(len, row)) for row in rows)
    start, pad = backbone.model.config.decoder_start_token_id, backbone.tokenizer.pad_token_id
    inputs = torch.full((len(rows), longest), pad, dtype=torch.long)
    labels = torch.full((len(rows), longest), pad, dtype=torch.long)
    owner = torch.full((len(rows), longest), -1, dtype=torch.long)
    weights = torch.zeros(len(rows), longest)
    for at, (row, example) in enumerate(zip(rows, examples, strict=True)):
        first = 0
        for number, (answer, weight) in enumerate(zip(row, example.weights, strict=True)):
            span = slice(first, first + len(answer))
            labels[at, span] = torch.tensor(answer)
            inputs[at, span] = torch.tensor([start, *answer[:-1]])
            owner[at, span] = number
            weights[at, span] = weight
            first += len(answer)
    return _Packed(inputs, labels, owner, weights)


def _own_answer_only(owner: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the attention scores: 0 for earlier tokens of the same answer, else very little.

    T5's positions are relative, so an answer reads the same wherever in the row it stands.
    """
    length = owner.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool).tril()
    seen = (owner[:, :, None] == owner[:, None, :]) & earlier
    barrier = torch.full(seen.shape, torch.finfo(dtype).min, dtype=dtype)
    return barrier.masked_fill(seen, 0.0)[:, None]
