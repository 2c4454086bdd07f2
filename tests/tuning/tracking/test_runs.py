"""Runs in real libraries: what is kept of them, offline; and that a library's failure is no failure of the run."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_run import Run

from flanrec.errors import SettingsError
from flanrec.tuning import Sample, Tracking, TrainingReport, tracked
from flanrec.tuning.tracking import EXTRAS, Library, require, runs

FACTS: dict[str, Any] = {"settings": {"seed": 7, "languages": ["en"]}, "data": {"fingerprint": "abc"}}
SAMPLE = Sample("What comes next?", ("Alien (1979)",), "Fargo (1996)")
_OF_USERS = ("WANDB_MODE", "WANDB_CACHE_DIR", "MLFLOW_TRACKING_URI", "TRACKIO_DIR")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _OF_USERS:
        monkeypatch.delenv(name, raising=False)


def needs(library: Library) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"needs the extra: pip install 'flanrec[{EXTRAS[library]}]'")


def train(folder: Path, library: Library, steps: int = 4, **changes: Any) -> TrainingReport:
    """A run of two stages, each of `steps` with evaluations in the middle and at the end."""
    with tracked(Tracking((library,), "films", "first"), folder, lambda: FACTS, **changes) as stage:
        for name in ("words", "item-tokens"):
            run = Run(steps=steps, evaluate_every=steps // 2)
            run.arguments |= {"callbacks": stage(name), "samples": lambda: [SAMPLE]}
            report = run.trainer().fit()
    return report


def interrupt(folder: Path, library: Library) -> None:
    with pytest.raises(KeyboardInterrupt), tracked(Tracking((library,)), folder, lambda: FACTS):
        raise KeyboardInterrupt


def offline_run(folder: Path) -> Path:
    """The file of the only offline run in a folder, which another process writes, once its end is there."""
    (path,) = (folder / "wandb").glob("offline-run-*/*.wandb")
    deadline = time.monotonic() + 30
    while not any(record.WhichOneof("record_type") == "exit" for record in wandb_records(path)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return path


def wandb_records(path: Path) -> Iterator[Any]:
    """The records of an offline run: protocol buffers in a LevelDB log behind a header of seven bytes."""
    from wandb.proto import wandb_internal_pb2

    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        part, at = data[at + 7 : at + 7 + size], at + 7 + size
        whole = part if kind in (1, 2) else whole + part
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            yield record


def told_to_wandb(path: Path) -> dict[tuple[str, int], float]:
    """By name and step of the stage, the numbers of an offline run."""
    found = {}
    for record in wandb_records(path):
        if record.WhichOneof("record_type") == "history":
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            stage = next(name.removesuffix("/step") for name in row if name.endswith("/step"))
            found |= {(name, row[f"{stage}/step"]): value for name, value in row.items() if "/" in name}
    return found


def test_wandb_keeps_curves_settings_and_samples_offline_and_inside_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("wandb")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    before = dict(os.environ)
    report = train(tmp_path / "run", "wandb")
    after = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # W&B's own
    assert after == {name: value for name, value in before.items() if name != "WANDB_SERVICE"}
    assert not list(tmp_path.glob("home/**/*"))
    path = offline_run(tmp_path / "run")
    told = told_to_wandb(path)
    for at, loss in enumerate(report.losses, start=1):
        assert told[f"item-tokens/loss/{report.objectives[at - 1]}", at] == loss
    assert told["words/evaluation/fit", report.best_step] == report.best_value
    assert {("words/gradient_norm", 1), ("words/learning_rate/table", 4), ("words/examples_per_second", 2)} <= {*told}
    (about,) = [record.run for record in wandb_records(path) if record.WhichOneof("record_type") == "run"]
    assert (about.project, about.display_name) == ("films", "first")
    config = {item.key: json.loads(item.value_json) for item in about.config.update}
    assert (config["settings"], config["data"]) == (FACTS["settings"], FACTS["data"])
    tables = [json.loads(file.read_text()) for file in path.parent.glob("files/media/table/words/*.json")]
    assert [table["data"] for table in tables] == [[["What comes next?", "1. Alien (1979)", "Fargo (1996)"]]] * 2
    exits = [record.exit.exit_code for record in wandb_records(path) if record.WhichOneof("record_type") == "exit"]
    assert exits == [0]


def test_a_resumed_run_goes_on_under_its_id_and_a_finished_one_does_not(tmp_path: Path) -> None:
    needs("wandb")

    def ids() -> list[str]:
        paths = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)
        return [path.stem.removeprefix("run-") for path in paths]

    interrupt(tmp_path, "wandb")
    train(tmp_path, "wandb", 2, resume=True)
    first, *others = ids()
    assert others in ([], [first])  # within one second both are in one folder
    assert not (tmp_path / "wandb" / "run-id.txt").exists()
    train(tmp_path, "wandb", 2, resume=True)
    assert ids()[-1] != first


def test_mlflow_keeps_curves_settings_and_samples_in_the_folder(tmp_path: Path) -> None:
    needs("mlflow")
    interrupt(tmp_path, "mlflow")
    report = train(tmp_path, "mlflow", resume=True)
    with sqlite3.connect(tmp_path / "mlflow" / "mlflow.db") as store:
        ended = store.execute("select run_uuid, status from runs").fetchall()
        metrics = store.execute("select key, step, value from metrics").fetchall()
        params = dict(store.execute("select key, value from params").fetchall())
    store.close()
    assert [status for _, status in ended] == ["FINISHED"]
    told = {(name, step): value for name, step, value in metrics}
    assert told["item-tokens/evaluation/fit", report.best_step] == report.best_value
    assert told[f"words/loss/{report.objectives[0]}", 1] == report.losses[0]
    assert params == {"settings.seed": "7", "settings.languages": '["en"]', "data.fingerprint": "abc"}
    (file,) = tmp_path.glob("mlflow/artifacts/*/artifacts/words/samples-00000004.json")
    assert json.loads(file.read_text())["samples"][0]["expected"] == "Fargo (1996)"


def test_trackio_keeps_curves_settings_and_samples_in_the_folder(tmp_path: Path) -> None:
    needs("trackio")
    # It keeps the folder that it began with, so that it needs a process of its own.
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        f"import importlib.util\nspec = importlib.util.spec_from_file_location('runs', {__file__!r})\n"
        "module = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(module)\n"
        f"from pathlib import Path\nmodule.train(Path({str(tmp_path)!r}), 'trackio')\n"
        f"module.train(Path({str(tmp_path)!r}), 'trackio', resume=True)\n"
        f"module.train(Path({str(tmp_path / 'other')!r}), 'trackio')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "set TRACKIO_DIR to one folder for all runs" in done.stderr
    with sqlite3.connect(tmp_path / "trackio" / "films.db") as store:
        rows = store.execute("select run_id, step, metrics from metrics").fetchall()
        configs = store.execute("select config from configs").fetchall()
    store.close()
    told = {(name, step) for _, step, metrics in rows for name in json.loads(metrics)}
    assert {("words/evaluation/fit", 2), ("item-tokens/gradient_norm", 4), ("words/samples", 4)} <= told
    assert len({run for run, _, _ in rows}) == 1
    assert json.loads(configs[0][0])["data"] == FACTS["data"]


class Broken:
    """A library that works until it is told the third thing."""

    def __init__(self, *given: object) -> None:
        self.told = 0

    def stage(self, name: str) -> Broken:
        return self

    def on_step(self, record: object) -> None:
        self.told += 1
        if self.told > 2:
            raise OSError("no space left")

    def on_evaluation(self, evaluation: object) -> None:
        self.on_step(evaluation)

    def on_end(self, report: object) -> None:
        self.on_step(report)

    def close(self, stopped: str) -> None:
        raise OSError("no space left")


def refuse(*given: object) -> Broken:
    raise RuntimeError("the database is locked")


@pytest.mark.parametrize(("opened", "words"), [(Broken, "OSError: no space left"), (refuse, "database is locked")])
def test_what_fails_in_a_library_is_logged_once_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, opened: Callable[..., Broken],
    words: str,
) -> None:  # fmt: skip
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(runs, "_RUNS", {"tensorboard": opened})
    monkeypatch.setattr(runs, "require", lambda libraries: None)
    report = train(tmp_path, "tensorboard", 8)
    assert report.steps == 8
    assert [message for message in caplog.messages if "tensorboard" in message] == [
        message for message in caplog.messages if words in message
    ]
    assert len([message for message in caplog.messages if "tensorboard is told no more of this run" in message]) == 1


def test_without_a_library_nothing_is_asked_for_and_nothing_written(tmp_path: Path) -> None:
    def no_facts() -> dict[str, Any]:
        raise AssertionError("nobody wants them")

    with tracked(Tracking(), tmp_path / "run", no_facts) as stage:
        assert stage("words") == []
    assert not (tmp_path / "run").exists()


def test_missing_libraries_are_named_with_their_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"wandb and mlflow are not installed: pip install 'flanrec\[wandb,mlflow"):
        require(["wandb", "mlflow"])
