"""What callbacks are told by a run, and how one of them ends it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_run import Run

from flanrec.tuning import Evaluation, GivenUpError, Sample, StepRecord, TrainingReport


class Doubter:
    """Writes down what it is told, and gives the run up at its second evaluation."""

    def __init__(self) -> None:
        self.evaluations: list[Evaluation] = []
        self.steps = 0
        self.stopped = ""

    def on_step(self, record: StepRecord) -> None:
        self.steps = record.step

    def on_evaluation(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)
        if len(self.evaluations) == 2:
            raise GivenUpError("worse than the others")

    def on_end(self, report: TrainingReport) -> None:
        self.stopped = report.stopped


def test_a_callback_may_give_the_run_up() -> None:
    run, doubter = Run(steps=24, evaluate_every=4), Doubter()
    run.arguments["callbacks"] = [doubter]
    with pytest.raises(GivenUpError, match="worse than the others"):
        run.trainer().fit()
    assert (doubter.steps, doubter.stopped) == (8, "given up")


def test_samples_go_to_callbacks_but_not_into_reports_and_checkpoints(tmp_path: Path) -> None:
    run, doubter = Run(tmp_path, steps=4, evaluate_every=4, checkpoint_every=4), Doubter()
    sample = Sample("What comes next?", ("Alien (1979)", "Fargo (1996)"), "Fargo (1996)")
    run.arguments |= {"callbacks": [doubter], "samples": lambda: [sample]}
    report = run.trainer().fit()
    assert [list(evaluation.samples) for evaluation in doubter.evaluations] == [[sample]]
    assert report.evaluations == doubter.evaluations
    assert [list(evaluation.samples) for evaluation in report.evaluations] == [[]]
    kept = next(tmp_path.glob("checkpoints/step-*/state.json"))
    assert "Fargo" not in kept.read_text()
