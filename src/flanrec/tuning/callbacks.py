"""Who is told of a training run: after each step, after each evaluation, and at its end."""

from __future__ import annotations

from typing import Protocol

from flanrec.errors import FlanrecError
from flanrec.tuning.report import Evaluation, StepRecord, TrainingReport


class GivenUpError(FlanrecError):
    """Raised by a callback's ``on_evaluation``: the run is not worth going on with, and ends without a result.

    Of several processes all end then; raised elsewhere, it would end the first one alone.
    """


class Callback(Protocol):
    """Told of every step and evaluation, and once of the end, whatever the end is."""

    def on_step(self, record: StepRecord) -> None:
        """After an update."""
        ...

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """After an evaluation; may raise `GivenUpError`."""
        ...

    def on_end(self, report: TrainingReport) -> None:
        """At the end, also of an interrupted or failed run: close files and bars."""
        ...
