"""The benchmark of few labelled users on a small log: rows, record, and nothing measured twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from flanrec.backbone import Backbone
from flanrec.data import Dataset


@pytest.fixture(scope="module")
def few_labels(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("few_labels")


def test_a_number_of_users_is_measured_once_and_told(
    few_labels: ModuleType,
    small_dataset: Dataset,
    backbone: Backbone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(few_labels, "load_backbone", lambda name: backbone)
    path = tmp_path / "records" / "few.json"
    arguments = ["--quick", "--users", "12", "--sample", "4", "--shots", "1", "--backbone", "offline", "--runs",
                 str(tmp_path / "runs"), "--json", str(path)]  # fmt: skip
    few_labels.main(arguments, small_dataset)
    first = json.loads(path.read_text())
    assert list(first["labelled_users"]) == ["12"]
    rows = first["labelled_users"]["12"]["rows"]
    assert list(rows) == ["popularity", "T5, zero-shot", "T5, 1 example", "fused", "item_tokens"]
    assert [row["users"] for row in rows.values()] == [28, 4, 4, 28, 28]
    assert rows["popularity"]["minus popularity"] == {"value": 0.0, "low": 0.0, "high": 0.0, "users": 28}
    assert rows["fused"]["minus zero-shot"]["users"] == 4
    # After item i always comes the next one, which the events of twelve users tell of nearly every item.
    assert rows["fused"]["minus popularity"]["low"] > 0
    said = capsys.readouterr()
    assert "12 labelled users" in said.out
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()}
    few_labels.main(arguments, small_dataset)
    again = json.loads(path.read_text())
    assert again["labelled_users"] == first["labelled_users"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()} == kept


def test_fewer_users_are_among_more_and_the_sample_stays(few_labels: ModuleType, small_dataset: Dataset) -> None:
    from flanrec.evaluation.tasks import ranking_task

    asked = few_labels.parse(["--sample", "5"])
    samples, trained = [], []
    for users in (8, 16, 30):
        task = ranking_task(small_dataset, "few-users", asked.seed, users=users)
        samples.append({task.user_ids[at] for at in few_labels.sampled(small_dataset, task, asked)})
        trained.append(set(task.known.user_ids))
    assert trained[0] < trained[1] < trained[2]
    assert samples[0] == samples[1] == samples[2]
    assert len(samples[0]) == 5
    assert not samples[0] & trained[2]


def test_differences_are_of_the_users_both_rows_were_asked_for(few_labels: ModuleType) -> None:
    def row(people: list[int], values: list[float]) -> object:
        return few_labels.Measured(np.array(people), np.array(values), np.array(values), None)

    found = row([0, 1, 2, 3], [0.0, 1.0, 0.5, 0.5]).minus(row([1, 3], [0.5, 0.5]), 1)  # type: ignore[attr-defined]
    assert found["users"] == 2
    assert found["value"] == pytest.approx(0.25)
