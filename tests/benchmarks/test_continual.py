"""The continual benchmark: its slices of time, and a short run."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from flanrec.data import Dataset


@pytest.fixture(scope="module")
def continual(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("continual")


def test_slices_part_the_log_by_time_and_leave_out_what_is_asked_of_the_base(
    continual: ModuleType, small_dataset: Dataset
) -> None:
    course = continual.Course.cut(small_dataset, 0.7, 3)
    base = course.until(0)
    parts = [base.interactions, *(course.arrived(number) for number in (1, 2, 3)), course.held]
    rows = pl.concat([part.select("row") for part in parts])["row"]
    assert sorted(rows.to_list()) == list(range(small_dataset.interactions.height))
    times = [(part["timestamp"].min(), part["timestamp"].max()) for part in parts[:-1]]
    assert all(earlier[1] < later[0] for earlier, later in pairwise(times))
    assert set(base.item_ids) >= set(base.interactions["item_id"])
    assert not {"i28", "i29"} & set(course.until(3).item_ids), "nobody met them"
    for user, item in course.held.select("user_id", "item_id").iter_rows():
        own = base.interactions.filter(pl.col("user_id") == user)
        assert own.height >= 3
        assert item not in own["item_id"]
    asked = course.moments(2)
    assert len(asked.persons) == len(asked.answers) >= asked.users.max() + 1
    assert all(len(person.items) for person in asked.persons)
    # On a circle the answer follows the history, but for the events that are held out.
    ahead = [(int(answer) - int(person.items[-1])) % 28
             for person, answer in zip(asked.persons, asked.answers, strict=True)]  # fmt: skip
    assert set(ahead) <= {1, 4}
    assert len(course.old().answers) == course.held.height


def test_a_short_run_is_recorded_and_gone_on_with(
    continual: ModuleType, small_dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["--quick", "--base", "0.7", "--backbone", "offline", "--threads", "1",
            "--folder", str(tmp_path / "models"), "--json", str(tmp_path / "record.json")]  # fmt: skip
    told = continual.main(call, small_dataset)
    record = json.loads((tmp_path / "record.json").read_text("utf-8"))
    (row,) = record["slices"]
    assert {check["events"] for check in row["update"]["checks"]} == {"new", "old"}
    reached = row["readings"]["fused"]
    assert list(reached) == ["never", "update", "again"]
    assert "gain" not in reached["never"]
    assert 0.8 < reached["update"]["new"][0] <= 1.0, "on a circle the next item is known"
    assert reached["again"]["change_of_old"][1] <= reached["again"]["change_of_old"][2]
    assert set(row["seconds"]) == {"never", "update", "again"}
    assert record["together"]["readings"]["fused"] == reached, "there is one slice"
    assert "again" in capsys.readouterr().out
    again = continual.main(call, small_dataset)
    assert again["slices"][0]["seconds"] == told["slices"][0]["seconds"], "models are kept"
