"""The benchmark of ways of tuning on a small log: rows beside full tuning, a record, and nothing measured twice."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from flanrec.data import Dataset

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def methods() -> ModuleType:
    """The script as a module."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        spec = importlib.util.spec_from_file_location("tuning_methods_benchmark", BENCHMARKS / "tuning_methods.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCHMARKS))
    return module


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
        assert methods.settings_of(row, asked).words.steps == 3
