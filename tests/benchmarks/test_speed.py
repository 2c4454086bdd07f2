"""The speed benchmark on a small log: its contenders agree, and its record has what it promises."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from flanrec.backbone import Backbone
from flanrec.data import Dataset

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("speed")


def test_contenders_agree_and_ratios_come_first(
    speed: Any, small_dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = ["--parts", "beams", "item_tokens", "catalogue"]
    speed.main(
        [
            "--quick",
            "--runs",
            "1",
            "--threads",
            "1",
            "--batch",
            "4",
            "--json",
            "--out",
            str(tmp_path / "r.json"),
            *parts,
        ],
        small_dataset,
    )
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert list(record)[:4] == ["beam_float32", "beam_fastest", "item_tokens", "exact_catalogue"]
    assert all(record[name] > 0 for name in list(record)[:4])
    beams, catalogue = record["details"]["beams"], record["details"]["catalogue"]
    assert beams["users_with_the_same_list"] == beams["users"] == 4
    assert beams["largest_relative_difference"] < 1e-4
    assert beams["contenders"]["transformers"]["gflop"] > beams["contenders"]["float32"]["gflop"] > 0
    assert sum(beams["phases"].values()) == pytest.approx(1.0)
    assert min(beams["phases"].values()) > 0
    assert catalogue["largest_relative_difference"]["float32"] < 1e-4
    assert catalogue["mean_relative_difference"]["int8"] < 0.03


def test_item_tokens_need_the_beams_of_the_same_run(speed: Any) -> None:
    with pytest.raises(SystemExit):
        speed.parse(["--parts", "item_tokens"])


@pytest.mark.parametrize("name", ["padded to 512", "Seq2SeqTrainer", "flanrec"])
def test_every_way_to_tune_learns_the_same_examples(
    speed: Any, name: str, fresh_backbone: Callable[[], Backbone], monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning = importlib.import_module("tuning_speed")
    monkeypatch.setattr(tuning, "PADDED", 32)
    torch.manual_seed(0)
    examples = [(f"What comes after {n}?", title) for n, title in enumerate(["Heat", "Alien", "Fargo", "Jaws"])]
    backbone = fresh_backbone()
    tuned = backbone if name == "flanrec" else importlib.import_module("peers").plain_model(backbone)
    before = tuning.held_out_loss(tuned, examples)
    assert tuning.CONTENDERS[name](tuned, examples, 4, 4) > 0
    assert tuning.held_out_loss(tuned, examples) < 0.9 * before


def test_growth_is_measured_on_made_up_titles(
    speed: Any, small_dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scale = importlib.import_module("scale")
    scale.main(
        ["--sizes", "40", "400", "--runs", "1", "--threads", "1", "--out", str(tmp_path / "r.json")], small_dataset
    )
    record = json.loads((tmp_path / "r.json").read_text("utf-8"))
    sizes = record["sizes"]
    assert [row["items"] for row in sizes] == [row["items"] for row in record["item_tokens"]] == [40, 400]
    assert all(row["recall"] == 1.0 and row["exact"] and row["user_ms"] > 0 for row in record["item_tokens"])
    assert sizes[1]["bytes_per_item"] < 60
    assert all(row["decode"]["per_second"] > 0 and row["phases"]["rest"] > 0 for row in sizes)
    assert "users a second" in capsys.readouterr().out


def test_made_up_titles_are_distinct_and_of_known_words(speed: Any) -> None:
    made = importlib.import_module("scale").titles(["Toy Story (1995)", "Heat (1995)", "The Rock (1996)"], 200)
    assert len(set(made)) == 200
    assert {word for title in made for word in title.split()[:-1]} == {"Toy", "Story", "Heat", "The", "Rock"}
