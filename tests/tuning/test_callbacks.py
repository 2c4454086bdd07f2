from __future__ import annotations

import builtins
import io
import json
import logging
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tiny_run import Run

from flanrec.errors import SettingsError
from flanrec.tuning import Evaluation, JsonLines, ProgressBar, StepRecord, TensorBoard


def record(step: int, seconds: float = 0.0, loss: float = 1.0, objective: str = "titles") -> StepRecord:
    return StepRecord(step, 100, objective, loss, 0.5, {"all": 0.1}, 8 * step, seconds)


def test_the_bar_is_drawn_on_a_terminal_with_loss_speed_and_time_left() -> None:
    screen = io.StringIO()
    bar = ProgressBar("match", console=Console(file=screen, force_terminal=True, width=160))
    run = Run(steps=30)
    run.arguments["callbacks"] = [bar]
    run.trainer().fit()
    for part in ("match", "30/30", "regression 0.", "loss ", "examples/s", "left", "after step 24: fit", "(best)"):
        assert part in screen.getvalue()


def test_away_from_a_terminal_lines_are_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    screen = io.StringIO()
    run = Run(steps=30)
    run.arguments["callbacks"] = [ProgressBar(console=Console(file=screen), every=3600)]
    run.trainer().fit()
    assert screen.getvalue() == ""
    assert sum("step 30 of 30, loss" in message for message in caplog.messages) == 1
    assert not any("step 29 of 30" in message for message in caplog.messages)
    assert "finished after 30 steps" in caplog.text


def test_time_left_counts_only_what_this_process_trained(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bar = ProgressBar(console=Console(file=io.StringIO()), every=0.0)
    bar.on_step(record(50, seconds=5000.0))  # resumed: the steps before were slow
    bar.on_step(record(60, seconds=5010.0))
    assert "8.0 examples/s, 40 s left" in caplog.messages[-1]


def test_json_lines_hold_the_curves(tmp_path: Path) -> None:
    run = Run(steps=8)
    run.arguments["callbacks"] = [JsonLines(tmp_path / "logs" / "curves.jsonl")]
    report = run.trainer().fit()
    lines = [json.loads(line) for line in (tmp_path / "logs" / "curves.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines if line["event"] == "step"] == report.losses
    assert [line["metrics"] for line in lines if line["event"] == "evaluation"] == [
        evaluation.metrics for evaluation in report.evaluations
    ]


def test_json_lines_have_each_step_once_after_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "curves.jsonl"
    killed = JsonLines(path)
    for step in (1, 2, 3):
        killed.on_step(record(step))
    killed.on_evaluation(Evaluation(2, {"ndcg": math.nan}, False))
    path.write_text(path.read_text() + '{"event": "step", "st')
    resumed = JsonLines(path)
    resumed.on_evaluation(Evaluation(2, {"ndcg": math.nan}, False))
    resumed.on_step(record(3))
    resumed.on_end(Run(steps=1).trainer().report)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["event"], line["step"]) for line in lines] == [
        ("step", 1), ("step", 2), ("evaluation", 2), ("step", 3),
    ]  # fmt: skip
    assert lines[2]["metrics"] == {"ndcg": None}


def test_tensorboard_gets_losses_rates_and_metrics(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Run(steps=8)
    run.arguments["callbacks"] = [TensorBoard(tmp_path)]
    report = run.trainer().fit()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    tags = {"loss/regression", "gradient_norm", "learning_rate/table", "learning_rate/layers", "evaluation/fit"}
    assert tags <= set(events.Tags()["scalars"])
    drawn = [event.value for event in events.Scalars("evaluation/fit")]
    assert drawn == pytest.approx([evaluation.metrics["fit"] for evaluation in report.evaluations])


def test_without_tensorboard_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usual = builtins.__import__

    def absent(name: str, *rest: Any, **named: Any) -> Any:
        if name.split(".")[0] == "tensorboard":
            raise ImportError(name)
        return usual(name, *rest, **named)

    for name in [name for name in sys.modules if name.startswith(("tensorboard", "torch.utils.tensorboard"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(SettingsError, match=r"flanrec\[tune\]"):
        TensorBoard(tmp_path)
