"""Sources and peers on a log whose right answer is known."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from flanrec.candidates import Transitions
from flanrec.data import Dataset
from flanrec.evaluation import peers
from flanrec.evaluation.methods import K, Method, by_scores, measure
from flanrec.evaluation.sources import closed_form_methods
from flanrec.evaluation.tasks import RankingTask, ranking_task
from flanrec.metrics import hit_rate, top_k

FROM_ORDER = {"blend", "transitions", "backward", "covisits", "alike"}


@pytest.fixture(scope="module")
def task(small_dataset: Dataset) -> RankingTask:
    return ranking_task(small_dataset, "leave-one-out")


def hits(method: Method, task: RankingTask, k: int) -> float:
    return float(hit_rate(measure(method, task).items, task.relevant, k).mean())


def test_the_source_that_knows_what_comes_next_is_best(task: RankingTask) -> None:
    found = {method.name: hits(method, task, 1) for method in closed_form_methods()}
    assert set(found) >= FROM_ORDER
    assert found["transitions"] == 1.0, "after an item always comes the next one of the circle"
    assert max(value for name, value in found.items() if name.startswith("recent")) < 0.3


def test_peers_are_fitted_on_the_same_events(task: RankingTask) -> None:
    methods, notes = peers.peer_methods(task)
    assert notes == []
    found = {method.name: hits(method, task, K) for method in methods}
    assert list(found) == ["popularity", "EASE as published", "item neighbours, cosine", "item neighbours, BM25", "ALS",
                           "BPR"]  # fmt: skip
    # Users who walk the same part of the circle took it: whoever compares users or items finds it among ten.
    for name in ("EASE as published", "item neighbours, cosine", "ALS"):
        assert found[name] > 0.9
        assert found[name] > found["popularity"]


def test_peers_say_their_settings_and_are_the_same_every_time(task: RankingTask) -> None:
    methods = peers.peer_methods(task)[0]
    assert methods[-2].settings == "implicit: factors=32, regularization=0.01, alpha=1, iterations=15, random_state=42"
    for method in methods:
        assert np.array_equal(measure(method, task).items, measure(method, task).items)


def test_bpr_is_left_out_where_it_knows_nobody(small_dataset: Dataset) -> None:
    methods, notes = peers.peer_methods(ranking_task(small_dataset, "new-users"))
    assert "BPR" not in [method.name for method in methods]
    assert "BPR is left out" in notes[0]


def test_without_the_extra_its_peers_are_left_out_with_a_note(
    task: RankingTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    methods, notes = peers.peer_methods(task)
    assert [method.name for method in methods] == ["popularity", "EASE as published"]
    assert "ALS, BPR are left out" in notes[0]
    assert "flanrec[baselines]" in notes[0]


def test_lists_have_no_seen_items_and_only_allowed_ones(small_dataset: Dataset) -> None:
    for rule in ("leave-one-out", "cold-items"):
        task = ranking_task(small_dataset, rule)
        for method in [*closed_form_methods(), *peers.peer_methods(task)[0]]:
            items = measure(method, task).items
            for person, listed in zip(task.people, items, strict=True):
                kept = listed[listed >= 0]
                assert not set(kept.tolist()) & set(person.items.tolist())
                assert task.allowed is None or task.allowed[kept].all()


def test_lists_are_those_of_the_scores(task: RankingTask) -> None:
    method = next(one for one in closed_form_methods() if one.name == "transitions")
    scorer = Transitions(window=2).fit(task.known.sequences())
    rank = by_scores(lambda asked: scorer.scores([one.items for one in asked]))
    scores = scorer.scores([one.items for one in task.people])
    for row, person in enumerate(task.people):
        scores[row, person.items] = -np.inf
    best, found = top_k(scores, 1).scores[:, 0], rank(task.people, None)
    assert np.take_along_axis(scores, found[:, :1], axis=1)[:, 0] == pytest.approx(best)
    assert method.kind == "source"


def test_equal_scores_do_not_go_by_the_order_of_the_catalogue(task: RankingTask) -> None:
    rank = by_scores(lambda asked: np.zeros((len(asked), task.n_items), dtype=np.float32))
    found = rank(task.people, None)
    assert not (np.diff(found, axis=1) > 0).all()
    assert np.array_equal(found, rank(task.people, None))


def test_times_are_measured_and_progress_is_told(task: RankingTask) -> None:
    done: list[int] = []
    row = measure(closed_form_methods()[0], task, done.append)
    assert sum(done) == len(task.people)
    assert row.fit_seconds > 0
    assert row.user_seconds > 0
