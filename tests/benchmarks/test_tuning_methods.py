"""The benchmark of ways of tuning on a small log: rows beside full tuning, a record, and nothing measured twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from flanrec.data import Dataset


@pytest.fixture(scope="module")
def methods(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("tuning_methods")


def test_rows_stand_beside_full_tuning_and_are_measured_once(
    methods: ModuleType, small_dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "methods.json"
    budget = ["--steps", "1", "--users", "6", "--threads", "1", "--json", str(record)]
    methods.main([*budget, "--rows", "full"], small_dataset)
    first = json.loads(record.read_text())
    methods.main([*budget, "--rows", "lora", "full"], small_dataset)
    found = json.loads(record.read_text())
    assert found["rows"]["full"] == first["rows"]["full"]
    assert list(found["rows"]) == ["full", "lora"]
    lora = found["rows"]["lora"]
    assert 0 < lora["share"] < 0.02 < found["rows"]["full"]["share"]
    assert len(lora["per_user"]) == lora["users"] == 6
    capsys.readouterr()
    methods.main(["--show", str(record)])
    shown = capsys.readouterr().out
    assert "lora" in shown
    assert "minus full" in shown
    assert "held-out templates" in shown
    with pytest.raises(SystemExit):
        methods.main([*budget[2:], "--steps", "2", "--rows", "ia3"], small_dataset)
    assert "another budget" in capsys.readouterr().err


def test_every_row_is_a_setting_that_can_be_had(methods: ModuleType) -> None:
    asked = methods.argparse.Namespace(steps=3, seed=1)
    for row in methods.ROWS.values():
        assert methods.settings_of(row, asked).words.steps == 3 * row.times
        assert row.beside in methods.ROWS
