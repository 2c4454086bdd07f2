"""``flanrec distill``, ``flanrec train --from`` and ``flanrec evaluate --families``: what they write and refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flanrec.artefact import verify_manifest

if TYPE_CHECKING:
    from conftest import Flanrec, Trained


@pytest.fixture
def data(trained: Trained) -> list[object]:
    return ["--interactions", trained.interactions, "--items", trained.items]


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    """Settings of the shortest fit, without item tokens and fusion."""
    path = tmp_path / "quick.toml"
    path.write_text(
        "[settings]\nnum_beams = 4\nsearch_nodes = 0\nvalidation_users = 8\n\n[settings.words]\nsteps = 2\n"
        "batch_size = 2\n\n[settings.tokens]\npasses = 0\n\n[settings.fusion]\nrounds = 0\nevents = 0\n\n"
        "[settings.distillation]\nsequences = 6\ntitles = 2\n"
    )
    return path


def test_a_student_of_some_blocks_is_saved_and_compared(
    flanrec: Flanrec, trained: Trained, data: list[object], quick: Path, tmp_path: Path
) -> None:
    out = tmp_path / "student"
    said = flanrec("distill", "--model", trained.model, *data, "--encoder-layers", 2, "--decoder-layers", 1,
                   "--by", "both", "--temperature", 3, "--out", out, "--config", quick, "--device", "cpu",
                   "--json")  # fmt: skip
    assert said.code == 0, said.err
    assert verify_manifest(out)["kind"] == "recommender"
    told = said.json
    assert (told["teacher"]["blocks"], told["student"]["blocks"]) == ([8, 8], [2, 1])
    assert told["teacher"]["parameters"] > told["student"]["parameters"]
    assert told["settings"]["distillation"] == {
        "by": "both", "temperature": 3.0, "share": 0.5, "sequences": 6, "titles": 2,
    }  # fmt: skip
    assert told["settings"]["origin"].startswith("distilled from 8+8 blocks tuned on ")
    assert told["settings"]["noun"] == "movie"  # the teacher's words, said in no file here
    assert "the teacher answered 6 questions" in said.err
    run = tmp_path / "student.run"
    assert {path.suffix for path in run.rglob("*") if path.is_file()} == {".jsonl"}
    lists = flanrec("recommend", "--model", out, "--user", "3", "--k", 3, "--device", "cpu", "--json")
    assert lists.code == 0, lists.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "name the student"),
        (["--student", "offline", "--encoder-layers", "2"], "name the student"),
        (["--encoder-layers", "9"], "choose a number from 1 to 8"),
        (["--decoder-layers", "0"], "greater than or equal"),
        (["--encoder-layers", "2", "--temperature", "0"], "distillation.temperature is 0"),
        (["--encoder-layers", "2", "--share", "1.5"], "distillation.share is 1.5"),
        (["--encoder-layers", "2", "--by", "osmosis"], "osmosis"),
        (["--student", "nowhere/at/all"], "nowhere/at/all"),
        (["--encoder-layers", "2", "--data", "ml-100k"], "--data names a whole data set"),
    ],
)
def test_what_cannot_be_distilled_is_refused(
    flanrec: Flanrec, trained: Trained, data: list[object], tmp_path: Path, options: list[object], told: str
) -> None:
    out = tmp_path / "student"
    said = flanrec("distill", "--model", trained.model, *data, "--out", out, "--device", "cpu", *options)
    assert said.code == 2, said.err
    assert told in said.err
    assert not out.exists()


def test_a_teacher_must_be_a_recommender_and_a_run_is_not_overwritten(
    flanrec: Flanrec, trained: Trained, tmp_path: Path
) -> None:
    said = flanrec("distill", "--model", tmp_path, "--encoder-layers", 2, "--out", tmp_path / "student")
    assert said.code == 2
    (tmp_path / "student.run" / "teacher-done").mkdir(parents=True)
    said = flanrec("distill", "--model", trained.model, "--encoder-layers", 2, "--out", tmp_path / "student")
    assert said.code == 2
    assert "--resume" in said.err


def test_training_begins_from_another_recommender(
    flanrec: Flanrec, trained: Trained, data: list[object], quick: Path, tmp_path: Path
) -> None:
    out = tmp_path / "second"
    said = flanrec("train", *data, "--from", trained.model, "--config", quick, "--out", out, "--json")
    assert said.code == 0, said.err
    assert "the T5 comes from" in said.err
    assert said.json["settings"]["origin"].startswith("tuned on ")
    assert said.json["settings"]["words"]["start_gain"] == 1.0
    body = json.loads((out / "recommender.json").read_text())
    assert body["settings"]["origin"] == said.json["settings"]["origin"]


@pytest.mark.parametrize("other", [["--backbone", "offline"], ["--revision", "main"]])
def test_it_cannot_begin_from_two(
    flanrec: Flanrec, trained: Trained, data: list[object], tmp_path: Path, other: list[object]
) -> None:
    said = flanrec("train", *data, "--from", trained.model, *other, "--out", tmp_path / "second")
    assert said.code == 2
    assert "--from brings its own T5" in said.err


def test_it_cannot_begin_from_what_is_no_recommender(flanrec: Flanrec, data: list[object], tmp_path: Path) -> None:
    said = flanrec("train", *data, "--from", tmp_path / "nothing", "--out", tmp_path / "second")
    assert said.code == 2
    assert not (tmp_path / "second").exists()


def test_families_are_told_with_the_rest(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    test = tmp_path / "test.csv"
    test.write_text("user_id,item_id,timestamp,rating\n0,129,2000000000,5\n1,128,2000000000,2\n2,129,2000000000,4\n")
    said = flanrec("evaluate", "--model", trained.model, "--test", test, "--families", "--no-match", "--device", "cpu",
                   "--json")  # fmt: skip
    assert said.code == 0, said.err
    found = {score["family"]: score for score in said.json["families"]["scores"]}
    assert {"sequential", "wish", "match", "pick", "rating"} <= set(found)
    assert found["rating"]["metric"] == "MAE"
    assert found["sequential"]["questions"] == 3
    assert set(said.json["families"]["definitions"]) >= {"NDCG@10", "AUC", "MAE"}
