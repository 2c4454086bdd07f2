"""The fused ranking without a source: what is left, and that nothing left out is nothing changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flanrec.catalogue.people import people
from flanrec.data import Dataset
from flanrec.evaluation.ablation import ALL, WITH_MODEL, WITHOUT_MODEL, ablation_methods, fused_without
from flanrec.evaluation.methods import K, measure
from flanrec.evaluation.sources import closed_form_methods, item_methods, reading_methods
from flanrec.evaluation.tasks import RankingTask
from flanrec.metrics import UserItems
from flanrec.ranking.fusion import Fusion
from flanrec.ranking.loglinear import LogLinear
from flanrec.recommender import READINGS, Recommender

PEERS = {"ease", "popularity"}


@pytest.fixture(scope="module")
def task(small_dataset: Dataset) -> RankingTask:
    """All users, who take the next item of their circle."""
    asked = people(small_dataset)
    relevant = UserItems.from_lists([[int(person.items[-1] + 1) % 28] for person in asked])
    return RankingTask("leave-one-out", 42, small_dataset, small_dataset.user_ids, asked, relevant)


def test_learned_again_from_all_sources_is_the_fused_ranking(fitted: Recommender, task: RankingTask) -> None:
    again = next(iter(ablation_methods(fused_without(fitted, task.known), "it")))
    assert again.name == ALL
    fused = reading_methods(fitted, ["fused"], "it", 1.0)[0]
    assert np.array_equal(measure(again, task).items, measure(fused, task).items)


def test_the_language_model_is_measured_where_the_fusion_does_without_it(
    fitted: Recommender, task: RankingTask
) -> None:
    deaf = Recommender(fitted.backbone, fitted.settings)
    blind = Fusion(LogLinear(("ease.score", "kind.score"), (0.4, 0.2)))
    deaf.adopt(replace(fitted.parts, fusion=blind))
    methods = {method.name: method for method in ablation_methods(fused_without(deaf, task.known), "it")}
    lists = {name: measure(methods[name], task).items for name in (ALL, WITH_MODEL, WITHOUT_MODEL)}
    assert np.array_equal(lists[ALL], lists[WITHOUT_MODEL])
    assert not np.array_equal(lists[ALL], lists[WITH_MODEL])
    assert not {"without text", "without nearest", "without tokens"} & methods.keys()


def test_every_source_that_is_heard_is_left_out_once(fitted: Recommender, task: RankingTask) -> None:
    methods = ablation_methods(fused_without(fitted, task.known), "it")
    sources = {method.name.removeprefix("without ") for method in methods[3:]}
    assert [method.name for method in methods[:3]] == [ALL, WITH_MODEL, WITHOUT_MODEL]
    assert {name.removesuffix(".score") for name in fitted.parts.fusion.base.names} <= sources
    assert len(sources) == len(methods) - 3
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
