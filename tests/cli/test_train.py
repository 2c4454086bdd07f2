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

import polars as pl
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


def test_instructions_of_ones_own_are_learnt_beside(
    flanrec: Flanrec, log: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text('{"prompt": "Is my transfer late?", "target": "transfer timing"}\n')
    monkeypatch.setenv("FLANREC_WORDS__WEIGHTS__EXAMPLES", "50")
    said = flanrec("train", *log, "--examples", own, "--out", tmp_path / "model")
    assert said.code == 0, said.err
    lines = (tmp_path / "model.run" / "words.jsonl").read_text().splitlines()
    assert {json.loads(line)["objective"] for line in lines if json.loads(line)["event"] == "step"} == {"examples"}
    assert not (tmp_path / "model.run" / "examples.npz").exists()


@pytest.mark.parametrize(
    ("text", "preset", "told"),
    [
        ("prompt,answer\na,b\n", "balanced", "no column 'target'"),
        ("prompt,target\na,\n", "balanced", "missing target (1)"),
        ("prompt,target\na,b\n", "fast", "words.steps is 0"),
    ],
)
def test_instructions_that_cannot_be_learnt_are_refused(
    flanrec: Flanrec, trained: Trained, tmp_path: Path, text: str, preset: str, told: str
) -> None:
    own = tmp_path / "own.csv"
    own.write_text(text)
    said = flanrec("train", "--interactions", trained.interactions, "--items", trained.items, "--examples", own,
                   "--backbone", "offline", "--preset", preset, "--out", tmp_path / "model")  # fmt: skip
    assert said.code == 2
    assert told in said.err
    assert not (tmp_path / "model").exists()


def curve(path: Path) -> list[tuple[int, float]]:
    """Steps and losses."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if line["event"] == "step"]


def workers_of_ray() -> list[int]:
    """Processes of this machine that are workers of Ray Train."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::RayTrainWorker"):
                found.append(int(path.parent.name))
        except OSError:
            continue  # it has ended
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_under_ray_a_killed_worker_changes_nothing_but_the_time(log: list[object], tmp_path: Path) -> None:
    pytest.importorskip("ray.train", reason="needs the extra: pip install 'flanrec[distributed]'")
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(package.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        "FLANREC_WORDS__STEPS": "16",
        "FLANREC_WORDS__ACCUMULATION": "2",
        "FLANREC_CHECKPOINT_SECONDS": "1",
        "FLANREC_AUTOCAST": "off",
    }
    command = [sys.executable, "-m", "flanrec", "train", *map(str, log), "--json"]
    alone = subprocess.run([*command, "--out", str(tmp_path / "alone")], env=environment, capture_output=True,
                           text=True, timeout=600)  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    before = set(workers_of_ray())
    asked = [*command, "--out", str(tmp_path / "model"), "--workers", "2"]
    with subprocess.Popen(asked, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        deadline = time.monotonic() + 300
        checkpoints = tmp_path / "model.run" / "words" / "checkpoints"
        while not any(checkpoints.glob("step-*")) and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        mine = sorted(set(workers_of_ray()) - before)
        assert len(mine) == 2
        os.kill(mine[-1], signal.SIGKILL)
        out, err = run.communicate(timeout=600)
    assert run.returncode == 0, err
    assert json.loads(out)["stages"]["words"]["steps"] == 16
    assert verify_manifest(tmp_path / "model")["kind"] == "recommender"
    expected, found = (curve(tmp_path / f"{run}.run" / "words.jsonl") for run in ("alone", "model"))
    assert [number for number, _ in found] == [number for number, _ in expected]
    assert [loss for _, loss in found] == pytest.approx([loss for _, loss in expected], rel=1e-4)
    # Cut into two slices, what dropout drops differs; the course is that of one process all the same.
    expected, found = (curve(tmp_path / f"{run}.run" / "item-tokens.jsonl") for run in ("alone", "model"))
    assert [number for number, _ in found] == [number for number, _ in expected]
    assert [loss for _, loss in found] == pytest.approx([loss for _, loss in expected], rel=0.05)
    assert not list((tmp_path / "model.run").glob("*/checkpoints"))


@pytest.fixture
def shortest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tune the T5 for two steps, the item tokens not at all."""
    monkeypatch.setenv("FLANREC_WORDS__EVALUATE_EVERY", "1")
    monkeypatch.setenv("FLANREC_TOKENS__PASSES", "0")
    monkeypatch.setenv("FLANREC_VALIDATION_USERS", "4")


def trained_titles(log: list[object]) -> set[str]:
    return set(pl.read_csv(str(log[log.index("--items") + 1]))["title"])


@pytest.mark.usefixtures("shortest")
def test_tracking_libraries_are_told_of_data_backbone_and_what_the_model_says(
    flanrec: Flanrec, log: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="needs the extra: pip install 'flanrec[wandb]'")
    pytest.importorskip("tensorboard", reason="needs the extra: pip install 'flanrec[tune]'")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    said = flanrec("train", *log, "--out", tmp_path / "model", "--track", "wandb", "--tensorboard", "--json")
    assert said.code == 0, said.err
    assert said.json["stages"]["words"]["steps"] == 2
    run = tmp_path / "model.run"
    assert list(run.glob("tensorboard/words/events.*"))
    (tables,) = run.glob("wandb/offline-run-*/files/media/table/words")
    rows = [row for path in tables.glob("*.json") for row in json.loads(path.read_text())["data"]]
    assert len(rows) == 8  # of four users, after each of two steps
    titles = trained_titles(log)
    assert all(expected in titles and expected not in prompt for prompt, _, expected in rows)
    assert all({line[3:] for line in predicted.splitlines()} <= titles for _, predicted, _ in rows)
    lines = [json.loads(line) for line in (run / "words.jsonl").read_text().splitlines()]
    assert [len(line["samples"]) for line in lines if line["event"] == "evaluation"] == [4, 4]
    assert {path.name for path in tmp_path.iterdir()} == {"model", "model.run"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--track", "none", "--track", "wandb"], "--track none stands beside wandb"),
        (["--track", "mlflow", "--tensorboard"], "pip install 'flanrec[tune,mlflow]'"),
        (["--track", "excel"], "excel"),
    ],
)
def test_what_cannot_be_tracked_is_refused_before_tuning(
    flanrec: Flanrec, log: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], told: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    said = flanrec("train", *log, "--out", tmp_path / "model", *options)
    assert said.code == 2
    assert told in said.err
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("shortest")
def test_a_loss_that_is_not_finite_ends_with_2_and_names_step_objective_and_examples(
    flanrec: Flanrec, log: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLANREC_WORDS__LEARNING_RATE", "1e30")
    said = flanrec("train", *log, "--out", tmp_path / "model")
    assert said.code == 2, said.err
    message = said.err.splitlines()[-1]
    assert message.startswith("flanrec: Objective '")
    for part in (" in step 2", "lower the learning rate", "The weights are those of step 1", "Examples: "):
        assert part in message
    assert not (tmp_path / "model").exists()
