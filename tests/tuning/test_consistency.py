"""R-Drop, against divergences and gradients by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from losses import loss_of
from torch import Tensor

from flanrec.backbone import Backbone
from flanrec.catalogue.trie import TitleTrie
from flanrec.generation import first_token_ids
from flanrec.tuning import LossSum, Objective
from flanrec.tuning.adversarial import AdversarialObjective
from flanrec.tuning.consistency import ConsistentObjective, consistent, symmetric_divergence
from flanrec.tuning.examples import Examples
from flanrec.tuning.objective import Predicting
from flanrec.tuning.objectives.answers import AnswerObjective, Question
from flanrec.tuning.objectives.examples import ExampleObjective
from flanrec.tuning.objectives.match import Judgement, MatchObjective
from flanrec.tuning.objectives.titles import TitleObjective

PROMPT = "The user wants comedy. Recommend one movie."
TITLES = ["Alien", "Alien 3", "Aliens", "Heat", "Toy Story (1995)", "Toy Soldiers (1991)", "Ed Wood"]


def unasked(_: np.random.Generator) -> Any:
    raise AssertionError("the loss draws nothing")


def objectives(backbone: Backbone) -> dict[str, tuple[Predicting, list[Any]]]:
    """One of each kind that predicts, with examples."""
    trie = TitleTrie.build(backbone.tokenizer(TITLES)["input_ids"])
    yes, no = (first_token_ids(backbone.tokenizer, [word]) for word in ("yes", "no"))
    titles = Question(PROMPT, (TITLES[1], TITLES[4]), (1.0, 0.5), (1, 4))
    free = Question(PROMPT, ("Alien 3", "4.5"), (1.0, 0.25))
    pairs = [Judgement("Is it good? yes or no", True, 0.5), Judgement(PROMPT, False, -1.0)]
    examples = Examples.tokenise(backbone, [PROMPT], ["Heat"], 64)
    rows = np.arange(2, 3000)
    return {
        "titles": (TitleObjective("titles", backbone, trie, unasked), [titles]),
        "answers": (AnswerObjective("answers", backbone, unasked, smoothing=0.1), [free]),
        "rows": (AnswerObjective("rows", backbone, unasked, rows=rows), [free]),
        "match": (MatchObjective(backbone, unasked, yes, no), pairs),
        "examples": (ExampleObjective(backbone, examples), [0]),
    }


KINDS = ("titles", "answers", "rows", "match", "examples")


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_distributions_and_the_loss_is_judged_by_them(backbone: Backbone, kind: str) -> None:
    objective, examples = objectives(backbone)[kind]
    assert isinstance(objective, Predicting)
    prepared = objective.prepare(examples)
    with torch.no_grad():
        predicted = objective.predict(prepared)
        assert objective.place_weights(prepared).shape == predicted.shape[:1]
        torch.testing.assert_close(predicted.exp().sum(dim=1), torch.ones(len(predicted)), atol=1e-4, rtol=0)
        assert bool(torch.isfinite(predicted).all())
        assert float(objective.judge(predicted, prepared).total) == float(objective.loss(prepared).total)
    if kind == "match":
        assert predicted.shape == (2, 2)


def test_smoothed_answers_cost_what_torch_says(backbone: Backbone) -> None:
    objective, examples = objectives(backbone)["answers"]
    prepared = objective.prepare(examples)
    with torch.no_grad():
        logits = objective.predict(prepared)
        losses = torch.nn.functional.cross_entropy(logits, prepared.labels, reduction="none", label_smoothing=0.1)
        expected = float((losses * objective.place_weights(prepared)).sum())
        assert float(objective.loss(prepared).total) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_without_dropout_the_loss_is_twice_and_nothing_is_apart(backbone: Backbone, kind: str) -> None:
    objective, examples = objectives(backbone)[kind]
    with torch.no_grad():
        once, twice = loss_of(objective, examples), loss_of(ConsistentObjective(objective, 5.0), examples)
    assert float(twice.total) == pytest.approx(2 * float(once.total), rel=1e-6)
    assert twice.count == once.count


@pytest.mark.parametrize("kind", ["titles", "match"])
def test_under_dropout_it_is_both_losses_and_the_weighted_divergence(
    fresh_backbone: Callable[[], Backbone], kind: str
) -> None:
    learner = fresh_backbone()
    learner.model.train()
    objective, examples = objectives(learner)[kind]
    prepared = objective.prepare(examples)
    with torch.no_grad():
        torch.manual_seed(4)
        first, second = objective.predict(prepared), objective.predict(prepared)
        torch.manual_seed(4)
        found = float(ConsistentObjective(objective, 3.0).loss(prepared).total)
    p, q = first.double().exp(), second.double().exp()
    rows = ((p * (first - second)).sum(dim=1) + (q * (second - first)).sum(dim=1)) / 2
    apart = float((rows * objective.place_weights(prepared)).sum())
    losses = sum(float(objective.judge(one, prepared).total) for one in (first, second))
    assert apart > 1e-4
    assert found == pytest.approx(losses + 3.0 * apart, rel=1e-5)


def test_a_divergence_is_that_of_the_definition_and_zero_of_equals() -> None:
    p, q = np.array([0.7, 0.2, 0.1]), np.array([0.5, 0.1, 0.4])
    expected = ((p * np.log(p / q)).sum() + (q * np.log(q / p)).sum()) / 2
    rows = torch.tensor(np.log(np.stack([p, q])))
    assert symmetric_divergence(rows, rows.flip(0)).tolist() == pytest.approx([expected, expected])
    assert symmetric_divergence(rows, rows).tolist() == [0.0, 0.0]


class Coin:
    """One weight, the log odds of heads; the first reading loses half of it, the second nothing."""

    name = "coin"
    apart = True

    def __init__(self) -> None:
        self.odds = torch.nn.Parameter(torch.tensor(0.8))
        self.shares = iter([0.5, 1.0])

    def draw(self, rng: np.random.Generator, size: int) -> list[float]:
        return rng.random(size).tolist()

    def prepare(self, examples: list[float]) -> list[float]:
        return examples

    def predict(self, prepared: list[float]) -> Tensor:
        odds = next(self.shares) * self.odds
        return torch.nn.functional.logsigmoid(torch.stack([odds, -odds]))[None]

    def place_weights(self, prepared: list[float]) -> Tensor:
        return torch.tensor([2.0])

    def judge(self, predicted: Tensor, prepared: list[float]) -> LossSum:
        return LossSum(-2.0 * predicted[0, 0], 2.0)

    def loss(self, prepared: list[float]) -> LossSum:
        return self.judge(self.predict(prepared), prepared)


def test_the_gradient_is_the_one_by_hand() -> None:
    coin, alpha = Coin(), 1.5
    loss = ConsistentObjective(coin, alpha).loss([])
    loss.total.backward()  # type: ignore[no-untyped-call]

    def by_hand(odds: float) -> float:
        one, two = 0.5 * odds, odds
        p, q = 1 / (1 + np.exp(-one)), 1 / (1 + np.exp(-two))
        apart = ((p - q) * (np.log(p) - np.log(q)) + (q - p) * (np.log(1 - p) - np.log(1 - q))) / 2
        return float(-2 * np.log(p) - 2 * np.log(q) + alpha * 2 * apart)

    assert float(loss.total.detach()) == pytest.approx(by_hand(0.8), rel=1e-6)
    assert coin.odds.grad is not None
    assert float(coin.odds.grad) == pytest.approx((by_hand(0.8 + 1e-5) - by_hand(0.8 - 1e-5)) / 2e-5, rel=1e-4)


def test_objectives_that_predict_nothing_and_alpha_zero_stay_as_they_are() -> None:
    class Silent:
        name = "silent"
        apart = False

        def draw(self, rng: np.random.Generator, size: int) -> list[int]:
            return [1] * size

        def prepare(self, examples: list[int]) -> list[int]:
            return examples

        def loss(self, prepared: list[int]) -> LossSum:
            return LossSum(torch.zeros(()), 1.0)

    silent, coin = Silent(), Coin()
    assert consistent(silent, 5.0) is silent
    assert consistent(coin, 0.0) is coin
    wrapped: Objective = consistent(coin, 5.0)
    assert isinstance(wrapped, ConsistentObjective)
    assert (wrapped.name, wrapped.apart) == ("coin", True)
    drawn = wrapped.draw(np.random.default_rng(1), 3)
    assert wrapped.prepare(drawn) == drawn == coin.draw(np.random.default_rng(1), 3)


def test_both_wrappers_together_cost_both(backbone: Backbone) -> None:
    objective, examples = objectives(backbone)["match"]
    prepared = objective.prepare(examples)
    backbone.model.zero_grad()
    plain = AdversarialObjective(objective, backbone, size=0.02).loss(prepared)
    both = AdversarialObjective(ConsistentObjective(objective, 1.0), backbone, size=0.02).loss(prepared)
    assert float(both.total.detach()) == pytest.approx(2 * float(plain.total.detach()), rel=1e-3)
    backbone.model.zero_grad()
