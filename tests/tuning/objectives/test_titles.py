"""The loss of titles is what generation calls their probability among all items."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from losses import loss_of

from flanrec.backbone import Backbone
from flanrec.catalogue.trie import TitleTrie
from flanrec.generation import title_log_probabilities
from flanrec.tuning.objectives.answers import Question
from flanrec.tuning.objectives.titles import TitleObjective

PROMPTS = ["The user wants comedy. Recommend one movie.", "Which movie comes next after Alien (1979); Heat (1995)?"]
TITLES = ["Alien", "Alien 3", "Aliens", "Heat", "Heat", "Toy Story (1995)", "Toy Soldiers (1991)", "Ed Wood"]


def unasked(_: np.random.Generator) -> Question:
    raise AssertionError("the loss draws nothing")


@pytest.fixture
def rows(backbone: Backbone) -> list[list[int]]:
    found: list[list[int]] = backbone.tokenizer(TITLES)["input_ids"]
    return found


@pytest.fixture
def objective(backbone: Backbone, rows: list[list[int]]) -> TitleObjective:
    return TitleObjective("titles", backbone, TitleTrie.build(rows), unasked)


def asked(prompt: str, items: list[int], weights: list[float]) -> Question:
    return Question(prompt, tuple(TITLES[item] for item in items), tuple(weights), tuple(items))


def test_the_loss_of_an_item_is_its_negative_log_probability_under_the_trie(
    backbone: Backbone, rows: list[list[int]], objective: TitleObjective
) -> None:
    expected = title_log_probabilities(backbone, PROMPTS, rows, normalisation="trie")
    for user, prompt in enumerate(PROMPTS):
        for item in range(len(TITLES)):
            with torch.no_grad():
                loss = loss_of(objective, [asked(prompt, [item], [1.0])])
            assert float(loss.total) == pytest.approx(-float(expected[user, item]), abs=1e-4)
            assert loss.count == 1.0
    distinct = [0, 1, 2, 3, 5, 6, 7]
    np.testing.assert_allclose(np.exp(expected[:, distinct]).sum(axis=1), 1.0, atol=1e-4)


def test_popular_items_are_likelier_by_their_weights(backbone: Backbone, rows: list[list[int]]) -> None:
    weights = np.array([1.0, 5.0, 2.0, 3.0, 4.0, 9.0, 1.0, 20.0])
    objective = TitleObjective("titles", backbone, TitleTrie.build(rows, weights=weights), unasked)
    expected = title_log_probabilities(backbone, PROMPTS[:1], rows, normalisation="trie", weights=weights)
    for item in range(len(TITLES)):
        with torch.no_grad():
            loss = loss_of(objective, [asked(PROMPTS[0], [item], [1.0])])
        assert float(loss.total) == pytest.approx(-float(expected[0, item]), abs=1e-4)
    plain = title_log_probabilities(backbone, PROMPTS[:1], rows, normalisation="trie")
    assert expected[0, 7] > plain[0, 7]  # Ed Wood forks at the first token, against all others
    assert np.exp(expected[0]).sum() == pytest.approx(1.0, abs=1e-4)
    # Two items have the title Heat: its probability is theirs by their weights.
    assert expected[0, 4] - expected[0, 3] == pytest.approx(np.log(4.0 / 3.0), abs=1e-4)


def test_several_prompts_and_answers_add_up_with_their_weights(
    backbone: Backbone, rows: list[list[int]], objective: TitleObjective
) -> None:
    expected = title_log_probabilities(backbone, PROMPTS, rows, normalisation="trie")
    with torch.no_grad():
        loss = loss_of(objective, [asked(PROMPTS[0], [0, 6, 7], [1.0, 0.8, 0.5]), asked(PROMPTS[1], [2], [0.25])])
    wanted = expected[0, 0] + 0.8 * expected[0, 6] + 0.5 * expected[0, 7] + 0.25 * expected[1, 2]
    assert float(loss.total) == pytest.approx(-float(wanted), abs=1e-3)
    assert loss.count == pytest.approx(2.55)


def test_a_catalogue_of_one_title_has_nothing_to_learn(backbone: Backbone, rows: list[list[int]]) -> None:
    alone = TitleObjective("titles", backbone, TitleTrie.build(rows[:1]), unasked)
    with torch.no_grad():
        assert float(loss_of(alone, [asked(PROMPTS[0], [0], [1.0])]).total) == 0.0


def test_excluded_items_leave_their_probability_to_the_others(backbone: Backbone, rows: list[list[int]]) -> None:
    weights = np.array([1.0, 5.0, 2.0, 3.0, 4.0, 9.0, 1.0, 20.0])
    objective = TitleObjective("titles", backbone, TitleTrie.build(rows, weights=weights), unasked)
    expected = title_log_probabilities(
        backbone, PROMPTS[:1], rows, excluded=[{0, 4, 7}], normalisation="trie", weights=weights
    )
    assert np.exp(expected[0, [1, 2, 3, 5, 6]]).sum() == pytest.approx(1.0, abs=1e-4)
    for item in (1, 2, 3, 5, 6):
        question = Question(PROMPTS[0], (TITLES[item],), (1.0,), (item,), excluded=(0, 4, 7))
        with torch.no_grad():
            assert float(loss_of(objective, [question]).total) == pytest.approx(-float(expected[0, item]), abs=1e-4)


def test_a_teacher_is_followed_at_every_fork_on_the_way(
    backbone: Backbone, rows: list[list[int]], objective: TitleObjective
) -> None:
    """Over all draws, weighted by the teacher, the loss is the divergence from it; zero from oneself."""
    scores = title_log_probabilities(backbone, PROMPTS[:1], rows, normalisation="trie")[0].astype(np.float64)
    own = np.exp(scores)
    own[[3, 4]] /= 2  # two items of one title
    teacher = np.random.default_rng(0).dirichlet(np.ones(len(rows)))
    everything = tuple(range(len(rows)))
    for beliefs in (own / own.sum(), teacher):
        question = Question(PROMPTS[0], tuple(TITLES), tuple(beliefs), everything, beliefs=beliefs)
        with torch.no_grad():
            loss = loss_of(objective, [question])
        by_title = np.append(beliefs[[0, 1, 2, 5, 6, 7]], beliefs[3] + beliefs[4])
        own_by_title = np.append(own[[0, 1, 2, 5, 6, 7]], own[3] + own[4])
        divergence = float((by_title * np.log(by_title / own_by_title)).sum())
        assert float(loss.total) == pytest.approx(divergence, abs=1e-3)
        assert loss.count == pytest.approx(1.0)
