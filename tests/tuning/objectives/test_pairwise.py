"""Pairs of better and worse items, against the paper's formula on transformers' own log-probabilities."""

from __future__ import annotations

import math
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
from flanrec.tuning.objectives.pairwise import PairwiseObjective

PROMPTS = ["The user wants comedy. Recommend one movie.", "Which movie comes next after Alien (1979); Heat (1995)?"]
TITLES = ["Alien", "Alien 3", "Aliens", "Heat", "Toy Story (1995)", "Toy Soldiers (1991)", "Ed Wood"]
WEIGHTS = np.array([1.0, 5.0, 2.0, 3.0, 9.0, 1.0, 20.0])
CHOICES = [
    Choice(PROMPTS[0], (6, 0, 4), (1.0, 0.0, 0.0), excluded=(5,)),
    Choice(PROMPTS[1], (1, 5), (0.0, 1.0)),
    Choice(PROMPTS[0], (3, 2, 1, 0), (2.0, 1.0, 1.0, 0.0)),
]


def unasked(_: np.random.Generator) -> Choice:
    raise AssertionError("the loss draws nothing")


@pytest.fixture(scope="module")
def rows(backbone: Backbone) -> list[list[int]]:
    found: list[list[int]] = backbone.tokenizer(TITLES)["input_ids"]
    return found


@pytest.fixture(scope="module")
def trie(rows: list[list[int]]) -> TitleTrie:
    return TitleTrie.build(rows, weights=WEIGHTS)


def total(backbone: Backbone, trie: TitleTrie, *choices: Choice) -> float:
    with torch.no_grad():
        return float(loss_of(PairwiseObjective(backbone, trie, unasked), list(choices)).total)


def test_the_loss_is_the_mean_over_pairs_of_different_grades(
    backbone: Backbone, rows: list[list[int]], trie: TitleTrie
) -> None:
    expected = 0.0
    for choice in CHOICES:
        scores = [
            item_log_probability(backbone, choice.prompt, rows, item, weights=WEIGHTS, excluded=choice.excluded)
            for item in choice.items
        ]
        losses = [
            math.log1p(math.exp(worse - better))
            for better, high in zip(scores, choice.grades, strict=True)
            for worse, low in zip(scores, choice.grades, strict=True)
            if high > low
        ]
        expected += sum(losses) / len(losses)
    assert len(losses) == 5
    assert total(backbone, trie, *CHOICES) == pytest.approx(expected, rel=1e-3)
    assert total(backbone, trie, *CHOICES) == pytest.approx(
        sum(total(backbone, trie, one) for one in CHOICES), rel=1e-4
    )


def test_the_count_is_that_of_the_choices(backbone: Backbone, trie: TitleTrie) -> None:
    objective = PairwiseObjective(backbone, trie, unasked)
    assert isinstance(objective, Predicting)
    prepared = objective.prepare(CHOICES)
    with torch.no_grad():
        assert objective.loss(prepared).count == 3.0
        assert objective.place_weights(prepared).tolist() == [1.0] * len(objective.predict(prepared))


def test_the_order_of_candidates_does_not_matter(backbone: Backbone, trie: TitleTrie) -> None:
    turned = [replace(one, items=one.items[::-1], grades=one.grades[::-1]) for one in CHOICES]
    assert total(backbone, trie, *turned) == pytest.approx(total(backbone, trie, *CHOICES), rel=1e-4)


def test_a_few_steps_raise_the_better_over_the_worse(trie: TitleTrie, fresh_backbone: Callable[[], Backbone]) -> None:
    learner = fresh_backbone()
    objective = PairwiseObjective(learner, trie, unasked)
    examples = [Choice(prompt, (good, bad), (1.0, 0.0)) for prompt in PROMPTS for good, bad in ((0, 4), (3, 6))]
    prepared = objective.prepare(examples)
    with torch.no_grad():
        before = objective.predict(prepared)
    learn(objective, learner, examples)
    with torch.no_grad():
        after = objective.predict(prepared)
    assert ((after[:, 0] - after[:, 1]) > (before[:, 0] - before[:, 1]) + 0.5).all()


def test_choices_are_drawn_by_the_rng_it_is_given(backbone: Backbone, trie: TitleTrie) -> None:
    objective = PairwiseObjective(backbone, trie, lambda rng: CHOICES[int(rng.integers(3))])
    first = objective.draw(np.random.default_rng(1), 20)
    assert len(first) == 20
    assert objective.draw(np.random.default_rng(1), 20) == first
    assert objective.draw(np.random.default_rng(2), 20) != first
