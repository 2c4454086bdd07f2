from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console
from tiny_run import Run

from flanrec.tuning import ProgressBar, StepRecord


def record(step: int, seconds: float) -> StepRecord:
    return StepRecord(step, 100, "titles", 1.0, 0.5, {"all": 0.1}, 8 * step, seconds)


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
