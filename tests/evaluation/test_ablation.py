"""The fused ranking without a source: what is left, and that nothing left out is nothing changed."""

from __future__ import annotations

import numpy as np
import pytest

from flanrec.catalogue.people import people
from flanrec.data import Dataset
from flanrec.evaluation.ablation import ALL, ablation_methods, fused_without, without
from flanrec.evaluation.methods import K, measure
from flanrec.evaluation.sources import closed_form_methods, item_methods, reading_methods
from flanrec.evaluation.tasks import RankingTask
from flanrec.metrics import UserItems
from flanrec.ranking.pool import Pool
from flanrec.recommender import READINGS, Recommender

PEERS = {"ease", "popularity"}


@pytest.fixture(scope="module")
def task(small_dataset: Dataset) -> RankingTask:
    """All users, who take the next item of their circle."""
    asked = people(small_dataset)
    relevant = UserItems.from_lists([[int(person.items[-1] + 1) % 28] for person in asked])
    return RankingTask("leave-one-out", 42, small_dataset, small_dataset.user_ids, asked, relevant)


def test_a_left_out_source_takes_its_features_and_its_own_candidates_along() -> None:
    end = np.log1p(2)
    # Of user 0 item 5 is named by a alone, item 6 by b alone, item 7 by both; user 1 has what only a names.
    features = np.array([[9, 0, 1, end], [8, end, 2, 0], [7, 0.5, 3, 0.5], [6, 0, 4, end]], dtype=np.float32)
    names = ("a.score", "a.rank", "b.score", "b.rank")
    pool = Pool(np.array([0, 0, 0, 1]), np.array([5, 6, 7, 5]), features, names, 2)
    left = without(pool, {"a"}, depth=2)
    assert left.names == ("b.score", "b.rank")
    assert (left.users.tolist(), left.items.tolist(), left.n_users) == ([0, 0], [6, 7], 2)
    assert left.column("b.score").tolist() == [2, 3]
    assert without(pool, {"b"}, depth=2).items.tolist() == [5, 7, 5]


def test_learned_again_from_all_sources_is_the_fused_ranking(fitted: Recommender, task: RankingTask) -> None:
    again = next(iter(ablation_methods(fused_without(fitted, task.known), "it")))
    assert again.name == ALL
    fused = reading_methods(fitted, ["fused"], "it", 1.0)[0]
    assert np.array_equal(measure(again, task).items, measure(fused, task).items)


def test_every_source_that_is_heard_is_left_out_once(fitted: Recommender, task: RankingTask) -> None:
    methods = ablation_methods(fused_without(fitted, task.known), "it")
    sources = {method.name.removeprefix("without ") for method in methods[1:]}
    assert {name.removesuffix(".score") for name in fitted.parts.fusion.base.names} <= sources
    assert len(sources) == len(methods) - 1
    rows = [measure(method, task) for method in methods if method.name.endswith((" transitions", " tokens"))]
    assert len(rows) == 2
    for row in rows:
        assert row.items.shape == (40, K)
        assert np.isnan(row.fit_seconds)
        assert np.isnan(row.user_seconds)
        assert all(not set(person.items.tolist()) & set(listed.tolist())
                   for person, listed in zip(task.people, row.items, strict=True))  # fmt: skip


def test_every_source_of_the_fusion_has_a_row_of_its_own(fitted: Recommender) -> None:
    pool = next(fitted.fused_reading.gatherer.pools(fitted.people(["u1"])))[1]
    sources = {name.removesuffix(".score") for name in pool.names if name.endswith(".score")}
    rows = {method.name for method in [*closed_form_methods(), *item_methods(fitted, "it")]}
    assert sources - {"tokens"} - PEERS <= rows


def test_readings_rank_as_the_recommender_does(fitted: Recommender, task: RankingTask) -> None:
    small = RankingTask("leave-one-out", 42, task.known, task.user_ids[:4], task.people[:4],
                        UserItems.from_lists([[0]] * 4), np.arange(30) >= 10)  # fmt: skip
    only = [f"i{item}" for item in range(10, 30)]
    for method in reading_methods(fitted, READINGS, "it", 2.5):
        row = measure(method, small)
        expected, _ = fitted.rank(small.people, K, reading=method.name, only=only)  # type: ignore[arg-type]
        assert np.array_equal(row.items, expected)
        assert row.fit_seconds == 2.5
        assert row.user_seconds > 0


def test_sources_that_compare_items_rank_likeness(fitted: Recommender, task: RankingTask) -> None:
    found = {method.name: measure(method, task).items for method in item_methods(fitted, "it")}
    assert list(found) == ["kind", "years", "text", "nearest"]
    # Items are a year apart: the nearest in time to the newest five stand first.
    newest = np.array([person.items[-5:].mean() for person in task.people])
    assert np.abs(found["years"][:, 0] - newest).max() < 15
