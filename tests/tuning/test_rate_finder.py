"""The range test on a run of some milliseconds a step."""

from __future__ import annotations

import math
import os
import signal
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import Run

from flanrec.errors import SettingsError
from flanrec.tuning import LossSum
from flanrec.tuning.rate_finder import RateCurve, find_rate


def tiny(**settings: Any) -> Run:
    return Run(dropout=0.0, batch_size=16, optimizer="sgd", average=0.0, clip_norm=None, **settings)


def curve_of(run: Run, **changes: Any) -> RateCurve:
    return find_rate(run.trainer(), **{"low": 1e-5, "high": 100.0, "steps": 80, **changes})


@pytest.fixture(scope="module")
def curve() -> RateCurve:
    return curve_of(tiny())


def test_the_loss_begins_as_it_was_then_falls_then_explodes(curve: RateCurve) -> None:
    assert curve.stopped in ("diverged", "not finite")
    assert curve.smoothed[0] == pytest.approx(curve.untrained)
    assert curve.smoothed[10] == pytest.approx(curve.untrained, rel=0.01)  # rates that change nothing
    assert curve.lowest is not None
    assert curve.smoothed[curve.lowest] < 0.7 * curve.untrained
    assert curve.smoothed[-1] > 4 * min(curve.smoothed) or curve.stopped == "not finite"


def test_rates_rise_by_one_factor_and_groups_keep_their_proportion(curve: RateCurve) -> None:
    factors = np.array(curve.rates[1:]) / np.array(curve.rates[:-1])
    assert factors == pytest.approx(np.full(len(factors), 1e7 ** (1 / 79)))
    assert curve.rates[0] == pytest.approx(1e-5)
    assert curve.proportions == {"table": 1.0, "layers": 0.5}
    assert len(curve.rates) == len(curve.losses) == len(curve.smoothed) == len(curve.objectives) < 80


def test_what_is_suggested_learns_and_what_is_far_from_it_does_not(curve: RateCurve) -> None:
    assert curve.steepest is not None
    assert curve.tenth is not None
    assert curve.lowest is not None
    assert curve.rates[0] < curve.steepest < curve.rates[curve.lowest] == pytest.approx(10 * curve.tenth)

    def trained(rate: float) -> float:
        run = tiny(rate=rate / 2, steps=60, evaluate_every=60, schedule="constant", warmup=0.0)
        run.second.slope = run.first.slope  # one thing to learn
        return -run.trainer().fit().evaluations[-1].metrics["fit"]

    begin = -tiny().fit_of_first()["fit"]
    assert trained(curve.steepest) < 0.2 * begin
    assert trained(curve.steepest / 1000) > 0.9 * begin


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adamw", "dropout": 0.2}, {"low": 1.0, "high": 1e30}])
def test_weights_and_random_numbers_are_as_they_were(changes: dict[str, Any]) -> None:
    bounds = {name: changes.pop(name) for name in ("low", "high") if name in changes}
    run = Run(**changes)
    before, random = run.weights(), torch.random.get_rng_state()
    curve = curve_of(run, **bounds)
    assert curve.stopped != "steps"
    assert all(torch.equal(value, before[name]) for name, value in run.weights().items())
    assert all(parameter.grad is None for parameter in run.model.parameters())
    assert torch.equal(torch.random.get_rng_state(), random)
    assert not run.model.training


def test_the_same_seed_gives_the_same_curve_and_dropout_is_no_noise(curve: RateCurve) -> None:
    assert curve_of(tiny()) == curve
    dropped = curve_of(Run(dropout=0.5, batch_size=4), high=1e-3)
    assert np.ptp(dropped.smoothed[:20]) < 1e-3 * dropped.untrained
    assert np.ptp(dropped.losses[:20]) > 0.1 * dropped.untrained


def test_a_loss_that_is_another_one_with_gradients_begins_as_it_was_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of adversarial training, which is twice the loss only where there is a gradient to climb."""
    run = tiny()
    usual = run.first.loss

    def doubled(examples: list[Any]) -> LossSum:
        loss = usual(examples)
        return LossSum(2 * loss.total, loss.count) if torch.is_grad_enabled() else loss

    monkeypatch.setattr(run.first, "loss", doubled)
    curve = curve_of(run, high=2e-5, steps=10)
    assert curve.smoothed == pytest.approx([curve.untrained] * 10, rel=1e-3)


def test_where_no_rate_helps_nothing_is_suggested() -> None:
    curve = curve_of(tiny(), low=1e-9, high=1e-7, steps=10)
    assert curve.stopped == "steps"
    assert (curve.lowest, curve.steepest, curve.tenth) == (None, None, None)


def test_a_loss_that_is_not_finite_ends_the_test_with_what_was_seen() -> None:
    run = tiny()
    run.first.before_loss = run.second.before_loss = broken_after(run, 3)
    curve = curve_of(run)
    assert curve.stopped == "not finite"
    assert 0 < len(curve.rates) < 80
    assert all(math.isfinite(loss) for loss in curve.losses)


def test_a_loss_that_is_not_finite_at_the_start_ends_the_test_before_the_first_update() -> None:
    run = tiny()
    with torch.no_grad():
        run.model.out.bias.fill_(math.nan)
    curve = curve_of(run)
    assert (curve.stopped, curve.rates, curve.lowest, curve.steepest) == ("not finite", (), None, None)


def broken_after(run: Run, rows: int) -> Any:
    """Once the table has moved by more than a little, it holds no number any more."""
    before = run.model.table.weight.detach().clone()

    def check(examples: list[Any]) -> None:
        with torch.no_grad():
            if float((run.model.table.weight - before).abs().max()) > 0.05:
                run.model.table.weight[:rows] = math.nan

    return check


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_ctrl_c_gives_what_there_is_so_far() -> None:
    run, done = tiny(), [0]

    def progress(made: int) -> None:
        done[0] += made
        if done[0] == 85:
            os.kill(os.getpid(), signal.SIGINT)

    before = run.weights()
    curve = curve_of(run, progress=progress)
    assert (curve.stopped, len(curve.rates)) == ("interrupted", 5)
    assert all(torch.equal(value, before[name]) for name, value in run.weights().items())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"low": 0.0}, "rates go from 0.0"),
        ({"low": 1.0, "high": 0.1}, "the lower one first"),
        ({"high": math.inf}, "finite rates"),
        ({"steps": 9}, "at least 10"),
    ],
)
def test_bounds_that_test_nothing_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        curve_of(tiny(), **changes)
