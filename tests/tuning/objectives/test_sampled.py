"""Sampled softmax: with the correction, the true probabilities are where the loss is least."""

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
from flanrec.tuning.objectives.sampled import SampledObjective

PROMPT = "The user wants comedy. Recommend one movie."
TITLES = ["Alien", "Alien 3", "Aliens", "Heat", "Toy Story (1995)", "Toy Soldiers (1991)", "Ed Wood"]
WEIGHTS = np.array([1.0, 5.0, 2.0, 3.0, 9.0, 1.0, 20.0])


def unasked(_: np.random.Generator) -> Choice:
    raise AssertionError("the loss draws nothing")


@pytest.fixture(scope="module")
def rows(backbone: Backbone) -> list[list[int]]:
    found: list[list[int]] = backbone.tokenizer(TITLES)["input_ids"]
    return found


@pytest.fixture(scope="module")
def objective(backbone: Backbone, rows: list[list[int]]) -> SampledObjective:
    return SampledObjective(backbone, TitleTrie.build(rows, weights=WEIGHTS), unasked)


def choice(taken: int, *drawn: int) -> Choice:
    """With each item drawn by its weight."""
    items = (taken, *drawn)
    corrections = tuple(np.log(WEIGHTS / WEIGHTS.sum())[list(items)].tolist())
    return Choice(PROMPT, items, (1.0,) + (0.0,) * len(drawn), corrections=corrections)


def test_the_loss_is_that_of_the_corrected_scores(
    backbone: Backbone, rows: list[list[int]], objective: SampledObjective
) -> None:
    one = choice(3, 6, 0, 4)
    scores = np.array([item_log_probability(backbone, PROMPT, rows, item, weights=WEIGHTS) for item in one.items])
    corrected = scores - np.array(one.corrections)
    expected = -(corrected[0] - np.log(np.exp(corrected).sum()))
    assert isinstance(objective, Predicting)
    with torch.no_grad():
        loss = loss_of(objective, [one])
    assert float(loss.total) == pytest.approx(float(expected), rel=1e-3)
    assert loss.count == 1.0


def test_the_order_of_candidates_does_not_matter(objective: SampledObjective) -> None:
    one = choice(3, 6, 0, 4)
    turned = replace(one, items=one.items[::-1], grades=one.grades[::-1], corrections=one.corrections[::-1])
    with torch.no_grad():
        assert float(loss_of(objective, [turned]).total) == pytest.approx(
            float(loss_of(objective, [one]).total), rel=1e-4
        )


def test_a_few_steps_raise_what_was_taken(rows: list[list[int]], fresh_backbone: Callable[[], Backbone]) -> None:
    learner = fresh_backbone()
    objective = SampledObjective(learner, TitleTrie.build(rows, weights=WEIGHTS), unasked)
    examples = [choice(3, 6, 0, 4), choice(3, 1, 6), choice(0, 6, 3, 4), choice(0, 5, 2)]
    prepared = objective.prepare(examples)
    with torch.no_grad():
        before = objective.predict(prepared)[:, 0]
    learn(objective, learner, examples)
    with torch.no_grad():
        after = objective.predict(prepared)[:, 0]
    assert (after > before + 0.3).all()
