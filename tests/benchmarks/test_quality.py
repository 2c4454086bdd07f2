"""The quality benchmark on a small log: it measures a saved model, and its record grows stage by stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from flanrec.data import Dataset, leave_one_out
from flanrec.errors import DataError

if TYPE_CHECKING:
    from flanrec.recommender import Recommender


@pytest.fixture(scope="module")
def quality(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("quality")


def test_a_saved_model_is_measured_and_each_stage_is_told_and_recorded(
    quality: ModuleType,
    saved: Path,
    small_dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    written: list[dict[str, Any]] = []

    def noted(path: Path, text: str) -> None:
        path.write_text(text)
        written.append(json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON")))

    monkeypatch.setattr(quality, "write_text_atomically", noted)
    path = tmp_path / "records" / "small.json"
    readings = ["--readings", "item_tokens", "generate", "match"]
    quality.main(["--model", str(saved), "--json", str(path), *readings], small_dataset)
    said = capsys.readouterr()
    names = ["model", "item_tokens", "generate", "match", "references"]
    assert [line.split(" s  ")[1].partition(":")[0] for line in said.err.splitlines() if " s  " in line] == names
    assert [len(record["reports"]) for record in written] == [0, 1, 2, 2, 4]
    assert [record["match"] is not None for record in written] == [False] * 3 + [True] * 2
    last = json.loads(path.read_text())
    assert [report["name"] for report in last["reports"]] == ["item_tokens", "generate", "random", "popularity"]
    assert list(last["seconds"]) == names
    assert last["instructions"] is None, "it was not asked for"
    assert last["match"]["rows"]["match"]["user_auc"] is None
    assert (last["preset"], last["model"]) == (None, str(saved))
    told = f"item_tokens: NDCG@10 {last['reports'][0]['metrics']['ndcg@10']:.4f}, HR@10 "
    assert told in said.err
    for words in ("popularity", "AUC by user needs", "random"):
        assert words in said.out


def test_a_model_that_knows_the_test_events_is_refused(
    quality: ModuleType, fitted: Recommender, small_dataset: Dataset
) -> None:
    with pytest.raises(DataError, match="knows 40 of 40 held-out events"):
        quality.refuse_leak(fitted, leave_one_out(small_dataset).test)


@pytest.mark.parametrize("arguments", [["--readings", "tea"], ["--model", "m", "--out", "o"]])
def test_wrong_usage_is_refused(quality: ModuleType, arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        quality.parse(arguments)
