"""``flanrec train``: what it writes, what it refuses, and how it goes on after an interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import flanrec as package
from flanrec.artefact import verify_manifest

if TYPE_CHECKING:
    from conftest import Flanrec, Trained


@pytest.fixture
def log(trained: Trained) -> list[object]:
    return ["--interactions", trained.interactions, "--items", trained.items, "--config", trained.config]


def test_it_saves_a_whole_model_and_says_what_it_did(trained: Trained) -> None:
    assert trained.said.code == 0, trained.said.err
    assert verify_manifest(trained.model)["kind"] == "recommender"
    told = trained.said.json
    assert told["stages"]["words"]["steps"] == 2
    assert 0 <= told["validation_ndcg@10"] <= 1
    assert (told["settings"]["seed"], told["settings"]["noun"], told["settings"]["num_beams"]) == (5, "movie", 4)
    assert "item tokens" in trained.said.err


def test_curves_are_kept_and_checkpoints_are_not(trained: Trained) -> None:
    run = trained.model.with_name("model.run")
    lines = (run / "words.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines if json.loads(line)["event"] == "step"] == [1, 2]
    assert {path.suffix for path in run.rglob("*") if path.is_file()} == {".jsonl"}


def test_a_run_with_checkpoints_is_not_overwritten(flanrec: Flanrec, log: list[object], tmp_path: Path) -> None:
    (tmp_path / "model.run" / "words" / "checkpoints" / "step-1").mkdir(parents=True)
    said = flanrec("train", *log, "--out", tmp_path / "model")
    assert said.code == 2
    assert "--resume" in said.err
    assert not (tmp_path / "model").exists()


def test_a_folder_with_other_files_is_refused_before_tuning(
    flanrec: Flanrec, log: list[object], tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    said = flanrec("train", *log, "--out", tmp_path)
    assert said.code == 2
    assert "did not save" in said.err


def test_bad_rows_stop_it_and_are_written_down(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("user_id,item_id,timestamp\n1,101,1000000000\n,102,1000000000\n1,999,1000000001\n")
    said = flanrec("train", "--interactions", bad, "--items", trained.items, "--out", tmp_path / "model",
                   "--rejects", tmp_path / "rejects.csv")  # fmt: skip
    assert said.code == 2
    assert "missing user id (1)" in said.err
    assert "unknown item (1)" in said.err
    assert len((tmp_path / "rejects.csv").read_text().splitlines()) == 3


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_interrupted_it_keeps_a_checkpoint_and_resumes(log: list[object], tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(package.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        "FLANREC_WORDS__STEPS": "12",
    }
    command = [sys.executable, "-m", "flanrec", "train", *map(str, log), "--out", str(tmp_path / "model"), "--json"]
    curve = tmp_path / "model.run" / "words.jsonl"
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        deadline = time.monotonic() + 120
        while not curve.is_file() and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=120)
    assert run.returncode == 130, err
    assert out == ""
    assert "--resume" in err
    assert "Traceback" not in err
    done = subprocess.run([*command, "--resume"], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert verify_manifest(tmp_path / "model")["kind"] == "recommender"
    steps = [json.loads(line)["step"] for line in curve.read_text().splitlines()]
    assert steps == list(range(1, 13))
