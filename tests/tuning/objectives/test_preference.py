"""Preferences, against the papers' formulas on transformers' own log-probabilities of two models."""

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
from flanrec.errors import SettingsError
from flanrec.tuning.objective import Predicting
from flanrec.tuning.objectives.candidates import Choice
from flanrec.tuning.objectives.preference import PreferenceObjective

PROMPTS = ["The user wants comedy. Recommend one movie.", "Which movie comes next after Alien (1979); Heat (1995)?"]
TITLES = ["Alien", "Alien 3", "Aliens", "Heat", "Toy Story (1995)", "Toy Soldiers (1991)", "Ed Wood"]
WEIGHTS = np.array([1.0, 5.0, 2.0, 3.0, 9.0, 1.0, 20.0])
CHOICES = [
    Choice(PROMPTS[0], (0, 6, 4), (0.0, 1.0, 0.0), excluded=(5,)),
    Choice(PROMPTS[1], (1, 5), (1.0, 0.0)),
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


@pytest.fixture(scope="module")
def moved(fresh_backbone: Callable[[], Backbone]) -> Backbone:
    """A model that differs from the reference."""
    other = fresh_backbone()
    with torch.no_grad():
        for weight in other.model.get_decoder().block.parameters():
            weight.mul_(1.05)
    return other


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_the_loss_is_that_of_the_papers(
    backbone: Backbone, moved: Backbone, rows: list[list[int]], trie: TitleTrie, beta: float
) -> None:
    def gain(choice: Choice, item: int) -> float:
        model, reference = (
            item_log_probability(one, choice.prompt, rows, item, weights=WEIGHTS, excluded=choice.excluded)
            for one in (moved, backbone)
        )
        return beta * (model - reference)

    several, single = CHOICES
    chosen = gain(several, 6)
    # Chen et al., equation 8: -log sigmoid(-log sum exp(rejected - chosen)).
    summed = math.log(sum(math.exp(gain(several, item) - chosen) for item in (0, 4)))
    expected = [math.log1p(math.exp(summed)), math.log1p(math.exp(gain(single, 5) - gain(single, 1)))]
    assert abs(gain(single, 5) - gain(single, 1)) > 0.01 * beta
    objective = PreferenceObjective(moved, backbone, trie, unasked, beta=beta)
    assert isinstance(objective, Predicting)
    with torch.no_grad():
        for choice, wanted in zip(CHOICES, expected, strict=True):
            assert float(loss_of(objective, [choice]).total) == pytest.approx(wanted, rel=1e-3)
        both = loss_of(objective, CHOICES)
    assert float(both.total) == pytest.approx(sum(expected), rel=1e-3)
    assert both.count == 2.0


def test_the_order_of_candidates_does_not_matter(backbone: Backbone, moved: Backbone, trie: TitleTrie) -> None:
    objective = PreferenceObjective(moved, backbone, trie, unasked)
    turned = [replace(one, items=one.items[::-1], grades=one.grades[::-1]) for one in CHOICES]
    with torch.no_grad():
        assert float(loss_of(objective, turned).total) == pytest.approx(
            float(loss_of(objective, CHOICES).total), rel=1e-5
        )


def test_before_the_model_has_moved_all_choices_cost_the_same(
    backbone: Backbone, fresh_backbone: Callable[[], Backbone], trie: TitleTrie
) -> None:
    objective = PreferenceObjective(fresh_backbone(), backbone, trie, unasked)
    with torch.no_grad():
        assert float(loss_of(objective, CHOICES).total) == pytest.approx(math.log(3) + math.log(2), rel=1e-5)


def test_a_few_steps_raise_the_chosen_over_the_rejected_and_leave_the_reference(
    backbone: Backbone, trie: TitleTrie, fresh_backbone: Callable[[], Backbone]
) -> None:
    learner = fresh_backbone()
    objective = PreferenceObjective(learner, backbone, trie, unasked, beta=0.5)
    examples = [Choice(prompt, (bad, good), (0.0, 1.0)) for prompt in PROMPTS for good, bad in ((0, 4), (3, 6))]
    prepared = objective.prepare(examples)
    with torch.no_grad():
        before = objective.predict(prepared)
    learn(objective, learner, examples)
    with torch.no_grad():
        after = objective.predict(prepared)
        assert ((after[:, 1] - after[:, 0]) > (before[:, 1] - before[:, 0]) + 0.5).all()
    assert all(weight.grad is None for weight in backbone.model.parameters())


def test_a_reference_that_would_move_along_and_a_beta_of_nothing_are_refused(
    backbone: Backbone, moved: Backbone, trie: TitleTrie
) -> None:
    with pytest.raises(SettingsError, match="give a copy"):
        PreferenceObjective(backbone, replace(backbone), trie, unasked)
    with pytest.raises(SettingsError, match="beta is 0"):
        PreferenceObjective(moved, backbone, trie, unasked, beta=0)
