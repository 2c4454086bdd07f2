"""Watching a training run: on the terminal, in TensorBoard, in a file of JSON lines."""

from __future__ import annotations

import dataclasses
import importlib
import json
import logging
import math
import time
from pathlib import Path
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from flanrec.artefact import write_text_atomically
from flanrec.errors import SettingsError
from flanrec.tuning.report import Evaluation, StepRecord, TrainingReport

logger = logging.getLogger(__name__)

_SMOOTHING = 0.9


class Callback(Protocol):
    """Told of every step and evaluation, and once of the end, whatever the end is."""

    def on_step(self, record: StepRecord) -> None:
        """After an update."""
        ...

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """After an evaluation."""
        ...

    def on_end(self, report: TrainingReport) -> None:
        """At the end, also of an interrupted or failed run: close files and bars."""
        ...


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


class TensorBoard:
    """Writes losses, rates and metrics as TensorBoard events.

    Raises
    ------
    SettingsError
        The package tensorboard is not installed.
    """

    def __init__(self, folder: Path | str) -> None:
        try:
            self._module: Any = importlib.import_module("torch.utils.tensorboard")
        except ImportError as problem:
            raise SettingsError("TensorBoard is not installed: pip install 'flanrec[tune]'.") from problem
        self.folder = Path(folder)
        self._writer: Any = None

    def on_step(self, record: StepRecord) -> None:
        """Write the loss under its objective, the rates and the gradient norm."""
        writer = self._open(record.step)
        writer.add_scalar(f"loss/{record.objective}", record.loss, record.step)
        writer.add_scalar("gradient_norm", record.gradient_norm, record.step)
        for name, rate in record.rates.items():
            writer.add_scalar(f"learning_rate/{name}", rate, record.step)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Write the metrics."""
        for name, value in evaluation.metrics.items():
            # "@" is not allowed in a tag.
            self._open(evaluation.step).add_scalar(f"evaluation/{name.replace('@', '_at_')}", value, evaluation.step)

    def on_end(self, report: TrainingReport) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self, step: int) -> Any:
        if self._writer is None:  # a resumed run replaces what a killed one wrote after its checkpoint
            self._writer = self._module.SummaryWriter(str(self.folder), purge_step=step)
        return self._writer


class JsonLines:
    """Writes one JSON object per step and evaluation, for plotting.

    A line has ``"event": "step"`` with the fields of `StepRecord`, or ``"event": "evaluation"`` with
    those of `Evaluation`; a number that is not finite is null. A resumed run first drops the lines
    that a killed one wrote after its checkpoint, a new run all lines.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._stream: TextIO | None = None

    def on_step(self, record: StepRecord) -> None:
        """Append the step."""
        self._write("step", record)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Append the evaluation."""
        self._write("evaluation", evaluation)

    def on_end(self, report: TrainingReport) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _write(self, event: str, fact: StepRecord | Evaluation) -> None:
        if self._stream is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._drop(event, fact.step)
            self._stream = self.path.open("a", encoding="utf-8")
        self._stream.write(json.dumps(_finite({"event": event, **dataclasses.asdict(fact)}), ensure_ascii=False) + "\n")
        self._stream.flush()

    def _drop(self, event: str, step: int) -> None:
        """Drop the lines that are about to be written again; those of a step come before its evaluation."""
        if not self.path.is_file():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                old = json.loads(line)
                earlier = (old["step"], old["event"] == "evaluation") < (step, event == "evaluation")
            except (ValueError, KeyError, TypeError):
                continue  # the line that the kill cut short
            if earlier:
                kept.append(line + "\n")
        write_text_atomically(self.path, "".join(kept))


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


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
