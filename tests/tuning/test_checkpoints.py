from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny_run
import torch
from tiny_run import Run

import flanrec.artefact
from flanrec.artefact import MANIFEST, verify_manifest
from flanrec.errors import CheckpointError, SettingsError
from flanrec.tuning import TrainingReport

OPTIMISERS = ["adamw", "adafactor", "sgd"]


def course(report: TrainingReport) -> dict[str, Any]:
    """All of a report but the time."""
    return {
        "losses": report.losses, "objectives": report.objectives, "evaluations": report.evaluations,
        "best": (report.best_step, report.best_value), "examples": report.examples, "stopped": report.stopped,
    }  # fmt: skip


def assert_same_result(one: Run, other: Run) -> None:
    for name, value in one.weights().items():
        assert torch.equal(value, other.weights()[name]), name


def interrupted(folder: Path, after: int, **settings: Any) -> None:
    """Leave a run that was interrupted while it passed the batch of the step `after` + 1 through."""
    run = Run(folder, **settings)
    calls = 0

    def before_loss(examples: list[Any]) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise KeyboardInterrupt

    run.first.before_loss = run.second.before_loss = before_loss
    with pytest.raises(KeyboardInterrupt):
        run.trainer().fit()


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("optimizer", OPTIMISERS)
@pytest.mark.parametrize("average", [0.0, 0.9])
def test_an_interrupted_run_resumes_to_the_same_course(tmp_path: Path, optimizer: str, average: float) -> None:
    settings = {"optimizer": optimizer, "average": average}
    whole = Run(**settings)
    expected = whole.trainer().fit()
    interrupted(tmp_path, 13, **settings)
    resumed = Run(tmp_path, **settings)
    with torch.no_grad():
        resumed.model.hidden.weight.add_(1.0)  # whatever the weights are before, the checkpoint's count
    assert course(resumed.trainer().fit(resume=True)) == course(expected)
    assert_same_result(whole, resumed)


@pytest.mark.parametrize("optimizer", OPTIMISERS)
def test_a_run_killed_in_the_middle_of_a_write_resumes_from_the_checkpoint_before(
    tmp_path: Path, optimizer: str
) -> None:
    program = [sys.executable, tiny_run.__file__, str(tmp_path), optimizer, "9"]
    ended = subprocess.run(program, env=environment(), capture_output=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    visible = sorted(path.name for path in (tmp_path / "checkpoints").glob("step-*"))
    assert visible == ["step-00000003", "step-00000006"]
    check_resumed(tmp_path, optimizer, lost_at_most=3)


def test_a_run_killed_at_any_moment_resumes_to_the_same_course(tmp_path: Path) -> None:
    program = [sys.executable, tiny_run.__file__, str(tmp_path), "adamw", "0"]
    with subprocess.Popen(program, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        for _ in range(1200):
            if (tmp_path / "checkpoints" / "step-00000008").exists() or child.poll() is not None:
                break
            time.sleep(0.05)
        child.kill()
    assert child.returncode == -signal.SIGKILL
    check_resumed(tmp_path, "adamw", lost_at_most=1)


def environment() -> dict[str, str]:
    source = str(Path(flanrec.artefact.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}


def check_resumed(folder: Path, optimizer: str, lost_at_most: int) -> None:
    whole, resumed = Run(optimizer=optimizer), Run(folder, optimizer=optimizer)
    expected = whole.trainer().fit()
    seen: list[int] = []
    resumed.first.before_loss = resumed.second.before_loss = lambda examples: seen.append(1)
    assert course(resumed.trainer().fit(resume=True)) == course(expected)
    assert len(seen) <= 24 - 8 + lost_at_most  # it did resume
    assert_same_result(whole, resumed)


@pytest.mark.parametrize("file", ["weights.safetensors", "optimiser.safetensors", "state.json", MANIFEST])
def test_a_truncated_newest_checkpoint_is_reported_and_the_one_before_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str
) -> None:
    expected = Run().trainer().fit()
    interrupted(tmp_path, 13, checkpoint_every=5)
    newest = tmp_path / "checkpoints" / "step-00000013"
    damage(newest / file)
    resumed = Run(tmp_path, checkpoint_every=13)
    assert course(resumed.trainer().fit(resume=True)) == course(expected)
    assert f"{newest} is damaged" in caplog.text
    assert file in caplog.text
    assert verify_manifest(newest)["step"] == 13  # written again, whole


def test_a_checkpoint_whose_best_weights_are_damaged_is_not_used(tmp_path: Path) -> None:
    expected = Run(rate=0.003, steps=30).trainer().fit()
    interrupted(tmp_path, 20, checkpoint_every=9, rate=0.003, steps=30)
    folder = tmp_path / "checkpoints"
    best = {name: json.loads((folder / name / "state.json").read_text())["best"] for name in os.listdir(folder)
            if name.startswith("step")}  # fmt: skip
    assert len(set(best.values())) == 2, best
    damage(folder / best["step-00000020"] / "weights.safetensors")
    resumed = Run(tmp_path, rate=0.003, steps=30, checkpoint_every=10)
    assert course(resumed.trainer().fit(resume=True)) == course(expected)


def test_when_all_checkpoints_are_damaged_nothing_is_trained(tmp_path: Path) -> None:
    interrupted(tmp_path, 5)
    damage(tmp_path / "checkpoints" / "step-00000005" / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"All checkpoints .* damaged: step-00000005"):
        Run(tmp_path).trainer().fit(resume=True)


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"seed": 8}, r"seed was 7 and is now 8"), ({"batch_size": 8}, "batch_size was 4 and is now 8"),
     ({"rate": 0.5}, r"learning_rate of group 'table' was 0.04 and is now 1.0"),
     ({"autocast": "bf16"}, "autocast was 'off' and is now 'bf16'")],
)  # fmt: skip
def test_a_run_with_other_settings_is_not_resumed(tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    interrupted(tmp_path, 5)
    with pytest.raises(CheckpointError, match=told):
        Run(tmp_path, **settings).trainer().fit(resume=True)
    assert Run(tmp_path).trainer().fit(resume=True).steps == 24  # and is still there for its own


def test_a_run_on_other_data_is_not_resumed(tmp_path: Path) -> None:
    interrupted(tmp_path, 5)
    run = Run(tmp_path)
    run.arguments["identity"] = {"data": "other"}
    with pytest.raises(CheckpointError, match="identity 'data'"):
        run.trainer().fit(resume=True)


def test_a_new_run_does_not_mix_with_an_earlier_one(tmp_path: Path) -> None:
    interrupted(tmp_path, 5)
    with pytest.raises(CheckpointError, match=r"earlier run, the newest step-00000005"):
        Run(tmp_path).trainer().fit()


def test_resuming_without_any_checkpoint_begins(tmp_path: Path) -> None:
    assert course(Run(tmp_path).trainer().fit(resume=True)) == course(Run().trainer().fit())


def test_a_finished_run_resumes_to_its_result_without_a_step(tmp_path: Path) -> None:
    whole, again = Run(tmp_path, checkpoint_every=24), Run(tmp_path, checkpoint_every=24)
    expected = whole.trainer().fit()
    again.first.before_loss = again.second.before_loss = lambda examples: pytest.fail("trained")
    assert course(again.trainer().fit(resume=True)) == course(expected)
    assert_same_result(whole, again)


def test_an_early_stop_is_the_same_after_a_resume(tmp_path: Path) -> None:
    settings = {"rate": 1.0, "patience": 2, "steps": 200, "optimizer": "sgd"}
    expected = Run(**settings).trainer().fit()
    assert expected.stopped == "early"
    interrupted(tmp_path, expected.steps - 3, **settings)
    assert course(Run(tmp_path, **settings).trainer().fit(resume=True)) == course(expected)


def test_an_evaluation_that_was_interrupted_is_made_up_for(tmp_path: Path) -> None:
    expected = Run().trainer().fit()
    run = Run(tmp_path)

    def evaluate() -> dict[str, float]:
        raise KeyboardInterrupt

    run.evaluate = evaluate
    with pytest.raises(KeyboardInterrupt):
        run.trainer().fit()
    assert course(Run(tmp_path).trainer().fit(resume=True)) == course(expected)


def test_an_interrupt_inside_an_update_does_not_save_half_of_it(tmp_path: Path) -> None:
    expected = Run().trainer().fit()
    run = Run(tmp_path, checkpoint_every=5)
    trainer = run.trainer()

    class Torn:
        def __init__(self, optimiser: torch.optim.Optimizer) -> None:
            self.optimiser = optimiser

        def __getattr__(self, name: str) -> Any:
            return getattr(self.optimiser, name)

        def step(self) -> None:
            self.optimiser.step()
            if trainer.report.steps == 7:
                raise KeyboardInterrupt

    begin = trainer._begin

    def begin_torn(resume: bool) -> None:
        begin(resume)
        trainer.course.optimiser = Torn(trainer.course.optimiser)  # type: ignore[assignment]

    trainer._begin = begin_torn  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert trainer.checkpoints is not None
    assert trainer.checkpoints.names() == ["step-00000005"]
    assert course(Run(tmp_path).trainer().fit(resume=True)) == course(expected)


def test_an_interrupt_says_where_to_resume(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    interrupted(tmp_path, 5)
    assert "Resume from" in caplog.text
    assert str(tmp_path / "checkpoints") in caplog.text
    with pytest.raises(SettingsError, match="need a folder"):
        Run(checkpoint_every=1).trainer()


def test_old_checkpoints_are_deleted_and_best_weights_are_kept_once(tmp_path: Path) -> None:
    Run(tmp_path, checkpoint_every=2, keep_checkpoints=3).trainer().fit()
    folders = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    steps = [name for name in folders if name.startswith("step")]
    assert steps == ["step-00000020", "step-00000022", "step-00000024"]
    named = {json.loads((tmp_path / "checkpoints" / name / "state.json").read_text())["best"] for name in steps}
    assert set(folders) - set(steps) == named


def test_the_clock_decides_too(tmp_path: Path) -> None:
    Run(tmp_path, checkpoint_seconds=1e-9, keep_checkpoints=100).trainer().fit()
    assert len(list((tmp_path / "checkpoints").glob("step-*"))) == 24


def test_frozen_parameters_are_not_saved_and_nothing_is_pickled(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    Run(tmp_path, checkpoint_every=24).trainer().fit()
    checkpoint = tmp_path / "checkpoints" / "step-00000024"
    assert {path.suffix for path in checkpoint.iterdir()} == {".json", ".safetensors"}
    names = set(load_file(checkpoint / "weights.safetensors"))
    assert names == {"table/weight", "layers/hidden.weight", "layers/hidden.bias", "layers/out.weight",
                     "layers/out.bias"}  # fmt: skip
