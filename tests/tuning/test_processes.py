"""Several processes that tune together, started by torchrun: the course of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_run import Run

import flanrec
from flanrec.errors import SettingsError
from flanrec.tuning import Processes, all_processes

PROGRAM = Path(__file__).parent / "together_run.py"


def together(what: str, folder: Path, *settings: str) -> list[dict[str, Any]]:
    """What each process saw."""
    folder.mkdir(parents=True, exist_ok=True)
    source = str(Path(flanrec.__file__).parents[1])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               str(PROGRAM), what, str(folder), *settings]  # fmt: skip
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize(
    ("settings", "alone"),
    [
        # Two slices, one for each: dropout drops the same.
        ({"batch_size": 4, "accumulation": 2}, {"batch_size": 4, "accumulation": 2}),
        # Three are cut into four, so that each has as many.
        pytest.param(
            {"batch_size": 5, "accumulation": 3, "dropout": 0.0}, {"batch_size": 15, "dropout": 0.0},
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_they_make_the_steps_of_one(tmp_path: Path, settings: dict[str, Any], alone: dict[str, Any]) -> None:
    told_each = [f"{name}={value}" for name, value in settings.items()]
    seen = together("plain", tmp_path, *told_each, "checkpoint_every=8")
    report = Run(**alone).trainer().fit()
    assert [told["rank"] for told in seen] == [0, 1]
    for told in seen:
        assert told["losses"] == pytest.approx(report.losses, rel=1e-5)
        assert told["values"] == pytest.approx([one.metrics["fit"] for one in report.evaluations], rel=1e-4)
        assert told["examples"] == report.examples
    assert seen[0]["weights"] == seen[1]["weights"]
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("step-*")) == [
        "step-00000016", "step-00000024",
    ]  # fmt: skip


def test_asked_to_stop_one_stops_all_after_the_same_step_and_they_resume_to_the_same_course(tmp_path: Path) -> None:
    whole = together("plain", tmp_path / "whole")
    stopped = together("interrupt", tmp_path / "cut")
    assert {told["problem"] for told in stopped} == {"interrupted"}
    assert len({told["steps"] for told in stopped}) == 1
    assert 0 < stopped[0]["steps"] < 24
    resumed = together("resume", tmp_path / "cut")
    assert [told["losses"] for told in resumed] == [told["losses"] for told in whole]
    assert [told["weights"] for told in resumed] == [told["weights"] for told in whole]


def test_what_fails_in_one_fails_in_all_instead_of_waiting(tmp_path: Path) -> None:
    seen = together("failing evaluation", tmp_path / "evaluation")
    assert [told["problem"] for told in seen] == ["SettingsError: the first process cannot evaluate"] * 2
    seen = together("not finite", tmp_path / "loss")
    assert all(told["problem"].startswith("NonFiniteLossError") for told in seen)
    assert "Another process" in seen[0]["problem"]
    assert "regression" in seen[1]["problem"]
    seen = together("giving up", tmp_path / "doubt")
    assert [(told["problem"], told["steps"]) for told in seen] == [("GivenUpError: worse than the others", 4)] * 2


def test_weights_are_held_by_the_importance_that_the_first_found(tmp_path: Path) -> None:
    seen = together("importance", tmp_path, "steps=1")
    assert seen[0]["importance"] == seen[1]["importance"]


def test_without_a_launcher_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert all_processes() == Processes(0, 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(SettingsError, match=r"WORLD_SIZE is 2.*torchrun"):
        all_processes()
