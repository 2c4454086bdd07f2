from __future__ import annotations

import math

import numpy as np
import pytest

from flanrec.errors import DataError, SettingsError
from flanrec.evaluation import evaluate_generation, evaluate_ranking, evaluate_scores
from flanrec.evaluation.protocol import DEFINITIONS
from flanrec.metrics.lists import UserItems

RANKED = np.array([[2, 0, 3], [1, 2, 0], [3, 1, 2]])
RELEVANT = UserItems.from_lists([[0], [], [3]])
HISTORY = UserItems.from_lists([[1, 4], [3], [0, 4]])
POPULARITY = np.array([2, 1, 0, 1, 4])


def test_a_small_evaluation_worked_out_by_hand() -> None:
    report = evaluate_ranking(RANKED, RELEVANT, n_items=5, ks=[1, 3], popularity=POPULARITY, history=HISTORY)
    assert (report.users, report.users_left_out) == (2, 1)
    assert report["hit_rate@1"] == 0.5
    assert report["mrr@3"] == (1 / 2 + 1) / 2
    assert report["ndcg@3"] == pytest.approx((1 / math.log2(3) + 1) / 2)
    assert report["precision@3"] == pytest.approx(1 / 3)
    assert report["coverage@3"] == 0.8
    lists = [(0 + 2 + 1) / 3, (1 + 0 + 2) / 3, (1 + 1 + 0) / 3]
    histories = [(1 + 4) / 2, 1, (2 + 4) / 2]
    assert report["popularity_bias@3"] == pytest.approx(sum(lists) / sum(histories))
    # Interactions + 1 over 8 + 5: items 2, 1 and 3 lead the lists.
    assert report["novelty@1"] == pytest.approx(-np.mean(np.log2(np.array([1, 2, 2]) / 13)))


def test_every_number_has_a_definition_and_only_properties_of_all_lists_have_no_interval() -> None:
    report = evaluate_ranking(RANKED, RELEVANT, n_items=5, ks=[3], popularity=POPULARITY, history=HISTORY)
    assert {metric.family for metric in report.metrics} == {
        *("hit_rate", "recall", "precision", "ndcg", "mrr", "map"),
        *("coverage", "gini", "novelty", "popularity_bias"),
    }
    for metric in report.metrics:
        assert metric.definition == DEFINITIONS[metric.family]
        assert (metric.low is None) == (metric.family in {"coverage", "gini", "popularity_bias"})


def test_scores_are_ranked_over_the_whole_catalogue_without_the_history() -> None:
    scores = np.array([[0.1, 0.9, 0.5, 0.5, 0.8], [0.0, 0.0, 0.0, 1.0, 0.0], [0.2, 0.3, 0.1, 0.9, 1.0]])
    report = evaluate_scores(scores, RELEVANT, history=HISTORY, ks=[3], popularity=POPULARITY, name="scores")
    same = evaluate_ranking(
        np.array([[2, 3, 0], [0, 1, 2], [3, 1, 2]]),
        RELEVANT,
        n_items=5,
        ks=[3],
        popularity=POPULARITY,
        history=HISTORY,
        name="scores",
        protocol=report.protocol,
    )
    assert report == same
    assert "items of the user's history removed" in report.protocol
    assert "history" not in evaluate_scores(scores, RELEVANT, ks=[3]).protocol


def test_held_out_items_that_were_seen_before_are_pointed_out() -> None:
    relevant = UserItems.from_lists([[1, 4, 2], [3, 3], [1]])
    report = evaluate_ranking(RANKED, relevant, n_items=5, ks=[3], history=HISTORY)
    assert report.notes == (
        "3 held-out items of 2 users are in their histories too; where seen items are removed these count as misses",
    )
    assert evaluate_ranking(RANKED, RELEVANT, n_items=5, ks=[3], history=HISTORY).notes == ()


def test_the_same_seed_gives_the_same_report() -> None:
    generator = np.random.default_rng(6)
    scores = generator.random((40, 30))
    relevant = UserItems.from_lists([[int(item)] for item in generator.integers(0, 30, 40)])
    assert evaluate_scores(scores, relevant, seed=1) == evaluate_scores(scores, relevant, seed=1)
    assert evaluate_scores(scores, relevant, seed=1) != evaluate_scores(scores, relevant, seed=2)


def test_no_user_with_relevant_items_leaves_the_numbers_undefined() -> None:
    report = evaluate_ranking(RANKED, UserItems.from_lists([[], [], []]), n_items=5, ks=[3])
    assert (report.users, report.users_left_out) == (0, 3)
    assert math.isnan(report["ndcg@3"])
    assert report.to_dict()["metrics"]["ndcg@3"] is None


def test_raw_generation_is_reported_with_intervals() -> None:
    report = evaluate_generation(np.array([[0, 0, -1, -1], [1, 2, 3, 4]]), n_items=5)
    assert report["valid_rate"] == 0.75
    assert report["duplicate_rate"] == 0.25
    assert report.metric("valid_rate").low == 0.5


def test_arguments_of_another_catalogue_or_other_users_are_refused() -> None:
    with pytest.raises(DataError, match="item 3 at rank 3, but the catalogue has 3 items"):
        evaluate_ranking(RANKED, RELEVANT, n_items=3, ks=[3])
    with pytest.raises(DataError, match="relevant items name item 7"):
        evaluate_ranking(RANKED, UserItems.from_lists([[7], [], []]), n_items=5, ks=[3])
    with pytest.raises(DataError, match="popularity covers 4 items"):
        evaluate_ranking(RANKED, RELEVANT, n_items=5, ks=[3], popularity=np.ones(4))
    with pytest.raises(DataError, match="histories have 1 user rows"):
        evaluate_ranking(RANKED, RELEVANT, n_items=5, ks=[3], history=UserItems.from_lists([[1]]))
    with pytest.raises(SettingsError, match="between 1 and the 3 ranks"):
        evaluate_ranking(RANKED, RELEVANT, n_items=5, ks=[10])
