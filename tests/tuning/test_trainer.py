from __future__ import annotations

import math
import signal
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import Run

from flanrec.errors import SettingsError
from flanrec.tuning import (
    Evaluation,
    LossSum,
    NonFiniteLossError,
    ParameterGroup,
    StepRecord,
    Trainer,
    TrainerSettings,
    TrainingReport,
    Weighted,
)


class Witness:
    def __init__(self) -> None:
        self.steps: list[StepRecord] = []
        self.evaluations: list[Evaluation] = []
        self.ends: list[str] = []

    def on_step(self, record: StepRecord) -> None:
        self.steps.append(record)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)

    def on_end(self, report: TrainingReport) -> None:
        self.ends.append(report.stopped)


def test_training_learns_and_reports_every_step() -> None:
    run = Run(steps=200, dropout=0.0, evaluate_every=50)
    run.second.slope = run.first.slope
    run.arguments["callbacks"] = [witness := Witness()]
    report = run.trainer().fit()
    assert report.steps == len(report.losses) == len(report.objectives) == 200
    assert np.mean(report.losses[-20:]) < 0.1 * np.mean(report.losses[:5])
    assert report.examples == 200 * 4
    assert report.stopped == "finished"
    assert set(report.objectives) == {"regression", "reversed"}
    assert 120 < report.objectives.count("regression") < 180  # three of four
    assert [record.loss for record in witness.steps] == report.losses
    assert witness.evaluations == report.evaluations
    assert [evaluation.step for evaluation in report.evaluations] == [50, 100, 150, 200]
    assert witness.ends == ["finished"]
    assert witness.steps[-1].rates["table"] == pytest.approx(2 * witness.steps[-1].rates["layers"])


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_the_best_weights_are_what_was_evaluated_and_what_remains(average: float) -> None:
    run = Run(rate=0.3, steps=40, average=average, dropout=0.0)
    report = run.trainer().fit()
    values = [evaluation.metrics["fit"] for evaluation in report.evaluations]
    assert report.best_value == max(values)
    assert report.best_step == report.evaluations[int(np.argmax(values))].step
    assert run.fit_of_first()["fit"] == report.best_value
    assert not run.model.training


def test_without_evaluation_the_average_is_the_result() -> None:
    plain, averaged = Run(average=0.0), Run(average=0.99)
    plain.evaluate = averaged.evaluate = None
    assert plain.trainer().fit().losses == averaged.trainer().fit().losses
    assert not torch.equal(plain.model.out.weight, averaged.model.out.weight)


def test_same_seed_same_run_and_another_seed_another() -> None:
    torch.manual_seed(5)
    one = Run()
    first = one.trainer().fit()
    torch.manual_seed(6)
    two = Run()
    second = two.trainer().fit()
    assert first.losses == second.losses
    assert all(torch.equal(a, b) for a, b in zip(one.weights().values(), two.weights().values(), strict=True))
    assert Run(seed=8).trainer().fit().losses != first.losses


def test_training_leaves_the_generators_of_torch_alone() -> None:
    trainer = Run(steps=2).trainer()
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    trainer.fit()
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("slices", [(1, 8), (2, 4), (3, 3)])
def test_slicing_a_batch_changes_nothing_but_rounding(slices: tuple[int, int]) -> None:
    size, accumulation = slices
    whole = Run(dropout=0.0, batch_size=size * accumulation).trainer().fit()
    sliced = Run(dropout=0.0, batch_size=size, accumulation=accumulation).trainer().fit()
    assert sliced.losses == pytest.approx(whole.losses, rel=1e-4)
    assert sliced.examples == whole.examples


def test_a_slice_without_targets_counts_for_nothing() -> None:
    whole, sliced = Run(dropout=0.0, batch_size=4, steps=3), Run(dropout=0.0, batch_size=1, accumulation=4, steps=3)
    for run in (whole, sliced):
        usual = run.first.loss

        def loss(examples: list[Any], usual: Any = usual) -> LossSum:
            kept = [example for example in examples if example[0] % 2]
            return usual(kept) if kept else LossSum(torch.zeros(()), 0)

        run.first.loss = run.second.loss = loss  # type: ignore[method-assign]
    assert sliced.trainer().fit().losses == pytest.approx(whole.trainer().fit().losses, rel=1e-4)


def test_patience_stops_a_run_that_no_longer_improves() -> None:
    run = Run(steps=400, patience=3)
    values = iter([0.1, 0.3, 0.2, math.nan, 0.3, 0.9])
    run.evaluate = lambda: {"fit": next(values)}
    report = run.trainer().fit()
    assert report.stopped == "early"
    assert report.steps == 20
    assert (report.best_step, report.best_value) == (8, 0.3)


def test_no_usable_evaluation_keeps_the_last_weights_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    run = Run(average=0.0)
    run.evaluate = lambda: {"fit": math.nan}
    report = run.trainer().fit()
    assert report.best_step is None
    assert "fit" in caplog.text


def test_clipping_bounds_the_update() -> None:
    run = Run(optimizer="sgd", betas=(0.0, 0.9), clip_norm=1e-3, steps=1, schedule="constant", warmup=0.0, rate=1.0)
    run.evaluate = None
    run.settings = run.settings.model_copy(update={"average": 0.0})
    run.arguments["callbacks"] = [witness := Witness()]
    before = run.weights()
    run.trainer().fit()
    moved = torch.cat([(run.weights()[name] - before[name]).flatten() for name in before if "table" not in name])
    assert float(moved.norm()) <= 1.01e-3
    assert witness.steps[0].gradient_norm > 1e-3


def test_a_loss_that_is_not_finite_names_objective_step_and_example() -> None:
    run = Run(batch_size=64)
    run.first.draw = run.second.draw = (  # type: ignore[method-assign]
        lambda rng, size: [(3, math.inf if index == 2 else 1.0) for index in range(size)]
    )
    run.arguments["callbacks"] = [witness := Witness()]
    before = run.weights()
    with pytest.raises(NonFiniteLossError, match=r"(regression|reversed).* step 1.*1 of 64 examples.*\(3, inf\)"):
        run.trainer().fit()
    assert all(torch.equal(value, before[name]) for name, value in run.weights().items())
    assert witness.ends == ["failed"]


def test_weights_that_grew_too_far_are_told_from_a_bad_example() -> None:
    run = Run(rate=1e30, clip_norm=None, optimizer="sgd", dropout=0.0, warmup=0.0)
    run.evaluate = None
    with pytest.raises(NonFiniteLossError, match=r"[lL]ower the learning rate"):
        run.trainer().fit()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_two_interrupts_stop_at_once_and_one_after_the_step(number: signal.Signals) -> None:
    run = Run()
    run.evaluate = None

    def interrupt(examples: list[Any], times: int) -> None:
        for _ in range(times):
            signal.raise_signal(number)

    handler = signal.getsignal(number)
    for times, steps in ((1, 1), (2, 0)):
        run.first.before_loss = run.second.before_loss = lambda examples, n=times: interrupt(examples, n)
        trainer = run.trainer()
        with pytest.raises(KeyboardInterrupt):
            trainer.fit()
        assert (trainer.report.steps, trainer.report.stopped) == (steps, "interrupted")
        assert signal.getsignal(number) is handler


def test_bf16_forward_passes_learn_too() -> None:
    report = Run(autocast="bf16", dropout=0.0, steps=60).trainer().fit()
    exact = Run(autocast="off", dropout=0.0, steps=60).trainer().fit()
    assert report.losses == pytest.approx(exact.losses, abs=0.15)
    assert report.losses != exact.losses


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"patience": 2}, "patience needs evaluate"), ({"checkpoint_every": 5}, "need a folder")],
)
def test_parts_that_do_not_fit_are_refused(settings: dict[str, Any], told: str) -> None:
    run = Run(**settings)
    run.evaluate = None
    with pytest.raises(SettingsError, match=told):
        run.trainer()


def test_trainable_parameters_outside_all_groups_are_refused() -> None:
    run = Run()
    group = ParameterGroup("table", dict(run.model.table.named_parameters()), 0.1)
    with pytest.raises(SettingsError, match=r"4 parameters require gradients.*model\.hidden\.weight"):
        Trainer({"model": run.model}, [group], [Weighted(run.first)], TrainerSettings(steps=1))


def test_an_evaluation_without_the_primary_metric_is_refused() -> None:
    run = Run()
    run.evaluate = lambda: {"other": 1.0}
    with pytest.raises(SettingsError, match=r"no 'fit'.*other"):
        run.trainer().fit()
