"""``flanrec export`` and ``--engine``: what is written says what the model says, or is not written."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flanrec.artefact import verify_manifest

if TYPE_CHECKING:
    from conftest import Flanrec, Trained

needs_ctranslate2 = pytest.mark.skipif(
    importlib.util.find_spec("ctranslate2") is None, reason="the extra 'fast' is not installed"
)


@needs_ctranslate2
@pytest.mark.parametrize(("number_format", "largest"), [("float32", 1e-4), ("int8", 0.03)])
def test_ctranslate2_is_written_and_answers(
    flanrec: Flanrec, trained: Trained, tmp_path: Path, number_format: str, largest: float
) -> None:
    out, pairs = tmp_path / "engine", tmp_path / "pairs.csv"
    said = flanrec(
        "export", "ctranslate2", "--model", trained.model, "--out", out, "--quantisation", number_format, "--json"
    )
    assert said.code == 0, said.err
    assert said.json["mean_difference"] < largest
    assert verify_manifest(out)["parity"]["mean_difference"] == said.json["mean_difference"]
    pairs.write_text("user_id,item_id\n3,104\n1,129\n")
    matched = [
        flanrec("match", "--model", trained.model, "--pairs", pairs, "--engine", engine, "--json").json["pairs"]
        for engine in ("torch", "int8", out)
    ]
    for other in matched[1:]:
        for one, two in zip(matched[0], other, strict=True):
            assert abs(one["probability"] - two["probability"]) < 0.05


def test_a_plain_checkpoint_is_written(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    said = flanrec("export", "safetensors", "--model", trained.model, "--out", tmp_path / "plain")
    assert said.code == 0, said.err
    assert "100% of the 10 best titles are the same" in said.out
    assert json.loads((tmp_path / "plain" / "config.json").read_text("utf-8"))["model_type"] == "t5"


def test_the_words_can_be_spelled_in_int8(flanrec: Flanrec, trained: Trained) -> None:
    command = ["recommend", "--model", trained.model, "--user", "3", "--k", "5", "--reading", "generate", "--json"]
    exact, rounded = (
        [row["item_id"] for row in flanrec(*command, "--engine", engine).json["recommendations"][0]["items"]]
        for engine in ("torch", "int8")
    )
    assert len(set(rounded)) == 5
    assert len(set(exact) & set(rounded)) >= 3


def test_wrong_engines_are_refused(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    said = flanrec("recommend", "--model", trained.model, "--user", "3", "--engine", "int9")
    assert said.code == 2
    assert "neither torch nor int8 nor a folder" in said.err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    said = flanrec("export", "safetensors", "--model", trained.model, "--out", tmp_path / "mine")
    assert said.code == 2
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"
