"""What a number format costs is measured on one model and the same users."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from flanrec.data import Dataset

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_formats_are_compared_by_user(
    saved: Path, small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.syspath_prepend(str(FOLDER))
    engines = importlib.import_module("engines")
    out = tmp_path / "record.json"
    engines.main(
        ["--model", str(saved), "--users", "6", "--wordings", "2", "--threads", "1", "--out", str(out)], small_dataset
    )
    record = json.loads(out.read_text("utf-8"))["engines"]
    assert list(record)[:2] == ["float32", "int8"]
    assert record["float32"]["difference"] == 0.0
    assert all(row["users"] == 6 and row["wordings"] == 2 and 0 <= row["value"] <= 1 for row in record.values())
    assert record["float32"]["item_tokens"]["difference"] == 0.0
    assert abs(record["int8"]["item_tokens"]["difference"]) < 0.2
    assert "Spelled titles, match and item tokens by engine" in capsys.readouterr().out
