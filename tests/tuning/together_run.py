"""A run of `tiny_run` by several processes, started by torchrun:

    torchrun --nproc-per-node 2 together_run.py WHAT FOLDER [SETTING=VALUE ...]

Each process writes what it saw to FOLDER/RANK.json.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from tiny_run import Run

from flanrec.errors import FlanrecError, SettingsError
from flanrec.tuning import (
    Evaluation,
    GivenUpError,
    LossSum,
    StepRecord,
    TrainingReport,
    Weighted,
    all_processes,
    parted,
)


class Doubter:
    """Gives the run up at its first evaluation."""

    def on_step(self, record: StepRecord) -> None:
        pass

    def on_evaluation(self, evaluation: Evaluation) -> None:
        raise GivenUpError("worse than the others")

    def on_end(self, report: TrainingReport) -> None:
        pass


def importance_of(run: Run) -> list[float]:
    """What elastic weight consolidation holds the weights by, a number a parameter."""
    from flanrec.recommender.updating.lesson import anchors
    from flanrec.recommender.updating.settings import Penalty

    held = {name: value for name, value in run.model.named_parameters() if value.requires_grad}
    (anchor,) = anchors(held, [Weighted(run.first)], Penalty(kind="ewc", strength=1.0, batches=2), 7)
    assert anchor.importance is not None
    return [float(value.double().sum()) for value in anchor.importance.values()]


def main() -> None:
    torch.set_num_threads(1)
    what, folder = sys.argv[1], Path(sys.argv[2])
    settings = {name: json.loads(value) for name, value in (one.split("=") for one in sys.argv[3:])}
    together = all_processes()
    run = Run(folder / "run", **settings)
    told: dict[str, Any] = {"rank": together.rank, "count": together.count}
    if what == "failing evaluation" and together.first:

        def fail() -> dict[str, float]:
            raise SettingsError("the first process cannot evaluate")

        run.evaluate = fail
    if what == "not finite" and not together.first:
        usual = run.first.loss

        def loss(examples: list[tuple[int, float]]) -> LossSum:
            found = usual(examples)
            return LossSum(found.total * float("nan"), found.count)

        run.first.loss = loss  # type: ignore[method-assign]
    if what == "interrupt" and not together.first:
        # In the midst of the run only the second process is asked to stop.
        run.second.before_loss = lambda examples: os.kill(os.getpid(), signal.SIGINT)
    if what == "kill" and together.first:
        run.first.before_loss = run.second.before_loss = lambda examples: time.sleep(0.1)
    if what == "giving up":
        run.arguments["callbacks"] = [Doubter()]
    if what == "importance":
        run.first.slope += together.rank  # by itself each process would find another one
        told["importance"] = importance_of(run)
    told["pid"] = os.getpid()
    (folder / f"{together.rank}.pid").write_text(str(os.getpid()))
    trainer = run.trainer()
    try:
        report = trainer.fit(resume=what == "resume")
        told |= {"losses": report.losses, "values": [one.metrics["fit"] for one in report.evaluations]}
        told["examples"] = report.examples
        told["weights"] = [float(value.double().sum()) for value in run.weights().values()]
    except FlanrecError as problem:
        told["problem"] = f"{type(problem).__name__}: {problem}"
    except KeyboardInterrupt:
        told["problem"] = "interrupted"
    told["steps"] = trainer.report.steps
    (folder / f"{together.rank}.json").write_text(json.dumps(told))
    parted()


if __name__ == "__main__":
    main()
