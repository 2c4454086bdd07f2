"""How a run goes, on the terminal or in the log."""

from __future__ import annotations

import logging
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from flanrec.tuning.report import Evaluation, StepRecord, TrainingReport

logger = logging.getLogger(__name__)

_SMOOTHING = 0.9


class ProgressBar:
    """Shows step, loss, examples a second and time left.

    On a terminal this is a bar on stderr; elsewhere a log line every `every` seconds.

    Parameters
    ----------
    label
        What is being trained.
    every
        Seconds between log lines.
    console
        Where to draw; stderr if not given.
    """

    def __init__(self, label: str = "tuning", *, every: float = 10.0, console: Console | None = None) -> None:
        self.label = label
        self.every = every
        self._console = console or Console(stderr=True)
        self._losses: dict[str, float] = {}
        self._first: tuple[int, int, float] | None = None
        self._logged = time.monotonic()
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def on_step(self, record: StepRecord) -> None:
        """Draw the step, or log it when it is time."""
        before = self._losses.get(record.objective, record.loss)
        self._losses[record.objective] = _SMOOTHING * before + (1 - _SMOOTHING) * record.loss
        if self._first is None:
            self._first = (record.step, record.examples, record.seconds) if record.step > 1 else (0, 0, 0.0)
        told = self._describe(record)
        if self._console.is_terminal:
            if self._bar is None:
                self._bar = Progress(
                    TextColumn(self.label), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}"),
                    console=self._console,
                )  # fmt: skip
                self._task = self._bar.add_task(self.label, total=record.steps, told="")
                self._bar.start()
            self._bar.update(self._task, completed=record.step, told=told)
        elif time.monotonic() - self._logged >= self.every or record.step == record.steps:
            logger.info("%s: step %d of %d, %s", self.label, record.step, record.steps, told)
            self._logged = time.monotonic()

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Print the metrics above the bar, or log them."""
        numbers = ", ".join(f"{name} {value:.4f}" for name, value in evaluation.metrics.items())
        told = f"{self.label}: after step {evaluation.step}: {numbers}{' (best)' if evaluation.improved else ''}"
        if self._bar is not None:
            self._bar.console.print(told, highlight=False, markup=False)
        else:
            logger.info("%s", told)

    def on_end(self, report: TrainingReport) -> None:
        """Take the bar down and say how the run ended."""
        self.close()
        best = "" if report.best_step is None else f"; best after step {report.best_step}"
        logger.info("%s: %s after %d steps and %s%s", self.label, report.stopped, report.steps,
                    duration(report.seconds), best)  # fmt: skip

    def close(self) -> None:
        """Take the bar down."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _describe(self, record: StepRecord) -> str:
        several = len(self._losses) > 1
        losses = ", ".join(f"{name} {loss:.3f}" if several else f"{loss:.3f}" for name, loss in self._losses.items())
        step, examples, seconds = self._first or (0, 0, 0.0)
        passed = record.seconds - seconds
        if record.step == step or passed <= 0:
            return f"loss {losses}"
        left = passed / (record.step - step) * (record.steps - record.step)
        return f"loss {losses}, {(record.examples - examples) / passed:.1f} examples/s, {duration(left)} left"


def duration(seconds: float) -> str:
    """Return a time span for people.

    Examples
    --------
    >>> duration(8), duration(95), duration(7260)
    ('8 s', '1 min 35 s', '2 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
