"""Graded candidates: the divergence of two softmaxes, zero where the model holds what the grades say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from by_hand import item_log_probability
from learning import learn
from losses import loss_of

from flanrec.backbone import Backbone
from flanrec.catalogue.trie import TitleTrie
from flanrec.tuning.objective import Predicting
from flanrec.tuning.objectives.candidates import Choice
from flanrec.tuning.objectives.listwise import ListwiseObjective

PROMPTS = ["The user wants comedy. Recommend one movie.", "Which movie comes next after Alien (1979); Heat (1995)?"]
TITLES = ["Alien", "Alien 3", "Aliens", "Heat", "Toy Story (1995)", "Toy Soldiers (1991)", "Ed Wood"]
CHOICES = [
    Choice(PROMPTS[0], (6, 0, 4), (3.0, 0.0, 1.5), excluded=(5,)),
    Choice(PROMPTS[1], (1, 5), (-2.0, -1.0)),
]


def unasked(_: np.random.Generator) -> Choice:
    raise AssertionError("the loss draws nothing")


@pytest.fixture(scope="module")
def rows(backbone: Backbone) -> list[list[int]]:
    found: list[list[int]] = backbone.tokenizer(TITLES)["input_ids"]
    return found


@pytest.fixture(scope="module")
def objective(backbone: Backbone, rows: list[list[int]]) -> ListwiseObjective:
    return ListwiseObjective(backbone, TitleTrie.build(rows), unasked)


def total(objective: ListwiseObjective, *choices: Choice) -> float:
    with torch.no_grad():
        return float(loss_of(objective, list(choices)).total)


def by_hand(backbone: Backbone, rows: list[list[int]], choice: Choice) -> list[float]:
    return [
        item_log_probability(backbone, choice.prompt, rows, item, excluded=choice.excluded) for item in choice.items
    ]


def shares(scores: list[float] | tuple[float, ...]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.exp(scores) / np.exp(scores).sum()


def test_the_loss_is_the_divergence_from_the_grades_softmax(
    backbone: Backbone, rows: list[list[int]], objective: ListwiseObjective
) -> None:
    expected = 0.0
    for choice in CHOICES:
        wanted, held = shares(choice.grades), shares(by_hand(backbone, rows, choice))
        expected += float((wanted * np.log(wanted / held)).sum())
    assert isinstance(objective, Predicting)
    with torch.no_grad():
        loss = loss_of(objective, CHOICES)
    assert float(loss.total) == pytest.approx(expected, rel=1e-3)
    assert loss.count == 2.0


def test_a_model_that_agrees_with_the_grades_has_nothing_to_learn(
    backbone: Backbone, rows: list[list[int]], objective: ListwiseObjective
) -> None:
    own = [replace(one, grades=tuple(7.0 + score for score in by_hand(backbone, rows, one))) for one in CHOICES]
    assert total(objective, *own) == pytest.approx(0.0, abs=1e-5)


def test_the_order_of_candidates_does_not_matter(objective: ListwiseObjective) -> None:
    turned = [replace(one, items=one.items[::-1], grades=one.grades[::-1]) for one in CHOICES]
    assert total(objective, *turned) == pytest.approx(total(objective, *CHOICES), rel=1e-4)


def test_a_few_steps_bring_the_shares_to_the_grades(
    rows: list[list[int]], fresh_backbone: Callable[[], Backbone]
) -> None:
    learner = fresh_backbone()
    objective = ListwiseObjective(learner, TitleTrie.build(rows), unasked)
    examples = [*CHOICES, Choice(PROMPTS[0], (3, 1), (0.0, 1.0)), Choice(PROMPTS[1], (2, 4, 3), (2.0, 1.0, 0.0))]
    before = total(objective, *examples)
    learn(objective, learner, examples, steps=6, rate=3e-4)
    assert total(objective, *examples) < 0.5 * before
