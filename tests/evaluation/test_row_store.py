"""Finished rows are found again, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flanrec.data import Dataset
from flanrec.evaluation.methods import Method, Ranking, Row, by_scores, measure
from flanrec.evaluation.row_store import RowStore
from flanrec.evaluation.tasks import RankingTask, ranking_task


def zeros(task: RankingTask) -> Ranking:
    return by_scores(lambda asked: np.zeros((len(asked), task.n_items), dtype=np.float32))


METHOD = Method("zeros / <all>", "source", "none", zeros)


@pytest.fixture(scope="module")
def task(small_dataset: Dataset) -> RankingTask:
    return ranking_task(small_dataset, "leave-one-out")


@pytest.fixture
def store(tmp_path: Path, task: RankingTask) -> RowStore:
    kept = RowStore(tmp_path / "rows")
    kept.keep(measure(METHOD, task), METHOD, task)
    return kept


def test_a_row_comes_back_as_it_was(tmp_path: Path, task: RankingTask) -> None:
    store, row = RowStore(tmp_path), replace(measure(METHOD, task), fit_seconds=float("nan"))
    assert store.find(METHOD, task) is None
    store.keep(row, METHOD, task)
    found = store.find(METHOD, task)
    assert isinstance(found, Row)
    assert np.array_equal(found.items, row.items)
    assert np.isnan(found.fit_seconds)
    assert found.user_seconds == row.user_seconds
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]


def test_other_settings_and_other_users_are_other_rows(
    store: RowStore, task: RankingTask, small_dataset: Dataset
) -> None:
    assert store.find(METHOD, task) is not None
    assert store.find(replace(METHOD, settings="some"), task) is None
    assert store.find(METHOD, ranking_task(small_dataset, "leave-one-out", sample=5)) is None
    assert store.find(METHOD, ranking_task(small_dataset, "new-users")) is None


def test_the_seed_is_not_part_of_a_row_that_it_does_not_change(
    store: RowStore, task: RankingTask, small_dataset: Dataset
) -> None:
    assert store.find(METHOD, ranking_task(small_dataset, "leave-one-out", seed=7)) is not None


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 torn", b"\x93NUMPY torn"])
def test_a_damaged_file_is_measured_again(store: RowStore, task: RankingTask, content: bytes) -> None:
    store.path(METHOD, task).write_bytes(content)
    assert store.find(METHOD, task) is None


def test_a_torn_file_is_measured_again(store: RowStore, task: RankingTask) -> None:
    path = store.path(METHOD, task)
    whole = path.read_bytes()
    for at in range(0, len(whole), 97):
        path.write_bytes(whole[:at] + b"\x00" * (len(whole) - at))
        assert store.find(METHOD, task) is None


def test_pickled_objects_and_strange_shapes_are_passed_over(store: RowStore, task: RankingTask) -> None:
    path = store.path(METHOD, task)
    np.savez(path, items=np.array([{"a": 1}], dtype=object), seconds=np.zeros(2))
    assert store.find(METHOD, task) is None
    np.savez(path, items=np.full((len(task.people), 10), task.n_items), seconds=np.zeros(2))
    assert store.find(METHOD, task) is None
