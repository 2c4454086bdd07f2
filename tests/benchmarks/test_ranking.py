"""The ranking benchmark on files of a small log."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import polars as pl
import pytest

from flanrec.data import Dataset

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_files_given_by_path_are_measured_with_and_without_the_language_model(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    ranking = importlib.import_module("ranking")
    monkeypatch.setattr(ranking, "REQUESTS", 3)
    small_dataset.interactions.drop("row").write_csv(tmp_path / "events.csv")
    items = small_dataset.items.with_columns(pl.col("category").list.join("|"))
    items.write_csv(tmp_path / "items.csv")
    cold = tmp_path / "cold.txt"
    cold.write_text("i3\ni4\ni5\ni9\ni10\ni11\ni15\ni16\ni20\ni21\ni22\ni26\n", encoding="utf-8")
    ranking.main(["--interactions", str(tmp_path / "events.csv"), "--items", str(tmp_path / "items.csv"), "--preset",
                  "fast", "--backbone", "offline", "--threads", "1", "--tasks", "leave-one-out", "cold-items",
                  "--cold-items", str(cold), "--json", str(tmp_path / "record.json")])  # fmt: skip
    record = json.loads((tmp_path / "record.json").read_text("utf-8"))["tasks"]
    known, new = record["leave-one-out"]["42"], record["cold-items"]["42"]
    both = ["with the whole language model", "without the language model"]
    assert [row["name"] for row in known["rows"]] == ["fused", "fused, learned again", *both]
    assert [verdict["group"] for verdict in known["verdicts"]] == ["texts"]
    assert known["rows"][0]["ndcg@10"] == known["rows"][1]["ndcg@10"]
    assert known["rows"][0]["hit_rate@10"]["value"] > 0.9, "on a circle the next item is known"
    assert [row["name"] for row in new["rows"]] == ["fused", "without the language model"]
    assert known["requests"]["requests"] == 3
    assert new["requests"] is None
    assert "tail" in capsys.readouterr().out


def test_files_come_in_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    with pytest.raises(SystemExit):
        importlib.import_module("ranking").parse(["--interactions", str(tmp_path / "events.csv")])
