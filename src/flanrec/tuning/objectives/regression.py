"""Rating as regression: the expectation of the rating that the T5 is about to say, against the one given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from flanrec.backbone import Backbone
from flanrec.backbone.used_rows import head_rows
from flanrec.errors import SettingsError
from flanrec.tuning.objective import LossSum, PredictedLoss
from flanrec.tuning.objectives.answers import Question
from flanrec.tuning.packing import Asked, answer_states, asked


class PreparedRatings(NamedTuple):
    """Questions for the model, each with the place of its answer; ratings are float32 [n_questions]."""

    asked: Asked
    ratings: Tensor


class RatingRegressionObjective(PredictedLoss):
    """Squared error of the expected rating, in units of the scale's range.

    What the decoder says first is a choice among the tokens that begin the ratings of the scale; the expectation is
    over the values that they begin. There is no new head: the tuned T5 answers with a rating as before, and a wrong
    answer costs by how far it is off, which cross-entropy does not see.

    Inputs
    ------
    ========= =======================================================================
    draw_one  draws a `Question` with one answer, the rating as a number
    backbone  the T5 that is tuned
    scale     the ratings that may be given, such as 1, 2, 3, 4 and 5, in any order
    ========= =======================================================================

    Raises
    ------
    SettingsError
        The scale has fewer than two ratings, or several of them begin with the same token.

    References
    ----------
    Lukasik et al., "Better autoregressive regression with LLMs via regression-aware fine-tuning", 2025.
    """

    name = "rating_regression"
    apart = True

    def __init__(
        self,
        backbone: Backbone,
        draw_one: Callable[[np.random.Generator], Question],
        scale: Sequence[float],
        *,
        max_length: int = 192,
    ) -> None:
        self.backbone = backbone
        self.draw_one = draw_one
        self.scale = sorted(set(map(float, scale)))
        self.max_length = max_length
        self.first_ids = first_tokens(backbone, self.scale)

    def draw(self, rng: np.random.Generator, size: int) -> list[Question]:
        """Draw questions."""
        return [self.draw_one(rng) for _ in range(size)]

    def prepare(self, examples: list[Question]) -> PreparedRatings:
        """Tokenise the questions; only what the decoder says first is asked."""
        prompts, first = [example.prompt for example in examples], [[self.first_ids[:1]]] * len(examples)
        return PreparedRatings(
            asked(self.backbone, prompts, first, [[1.0]] * len(examples), self.max_length),
            torch.tensor([float(example.answers[0]) for example in examples]),
        )

    def predict(self, prepared: PreparedRatings) -> Tensor:
        """The log-probability of each rating of the scale, ascending: float32 [n_questions, n_ratings]."""
        states = answer_states(self.backbone, prepared.asked)
        head = head_rows(self.backbone.model, torch.tensor(self.first_ids, device=states.device))
        return functional.linear(states, head.to(states.dtype)).float().log_softmax(dim=1)

    def place_weights(self, prepared: PreparedRatings) -> Tensor:
        """All questions count alike."""
        return torch.ones(len(prepared.ratings))

    def judge(self, predicted: Tensor, prepared: PreparedRatings) -> LossSum:
        """Sum the squared errors over the questions; the count is their number."""
        scale = torch.tensor(self.scale, device=predicted.device)
        missed = (predicted.exp() * scale).sum(dim=1) - prepared.ratings.to(predicted.device)
        return LossSum((missed / (self.scale[-1] - self.scale[0])).square().sum(), float(len(missed)))


def scale_of(ratings: NDArray[np.float32]) -> list[float]:
    """The ratings that occur among some, ascending; those that are missing (nan) left out.

    Examples
    --------
    >>> scale_of(np.array([4, 1, np.nan, 4, 2.5], dtype=np.float32))
    [1.0, 2.5, 4.0]
    """
    return [float(f"{rating:g}") for rating in np.unique(ratings[~np.isnan(ratings)])]


def first_tokens(backbone: Backbone, scale: Sequence[float]) -> list[int]:
    """The token that begins each rating of a scale, each rating once.

    Raises
    ------
    SettingsError
        The scale has fewer than two ratings, or several of them begin with the same token.
    """
    if len(scale) < 2:
        only = f"only the rating {scale[0]:g}" if scale else "no rating"
        raise SettingsError(
            f"the scale has {only}, so there is nothing to expect; set words.weights.rating_regression to 0"
        )
    said = [f"{value:g}" for value in scale]
    first = [int(row[0]) for row in backbone.tokenizer(said, add_special_tokens=False, verbose=False)["input_ids"]]
    alike: dict[int, list[str]] = defaultdict(list)
    for token, text in zip(first, said, strict=True):
        alike[token].append(text)
    clashes = [", ".join(texts[:8]) + (" and more" if len(texts) > 8 else "") for texts in alike.values()
               if len(texts) > 1]  # fmt: skip
    if clashes:
        raise SettingsError(
            f"the ratings {'; '.join(clashes)} begin with the same token, so the first token does not tell them apart; "
            "round the ratings to whole numbers or set words.weights.rating_regression to 0"
        )
    return first
