"""The curves of a run as TensorBoard events."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flanrec.errors import SettingsError
from flanrec.tuning.report import Evaluation, Sample, StepRecord, Stopped, TrainingReport
from flanrec.tuning.tracking.curves import Curves, samples_text


class TensorBoard:
    """Writes losses, rates, speed, metrics and samples of one stage as TensorBoard events.

    Parameters
    ----------
    folder
        Where the event files go.
    facts
        What the run is of, shown as text.

    Raises
    ------
    SettingsError
        The package tensorboard is not installed.
    """

    def __init__(self, folder: Path | str, facts: Mapping[str, Any] | None = None) -> None:
        try:
            self._module: Any = importlib.import_module("torch.utils.tensorboard")
        except ImportError as problem:
            raise SettingsError("TensorBoard is not installed: pip install 'flanrec[tune]'.") from problem
        self.folder = Path(folder)
        self.facts = facts
        self._writer: Any = None
        self._curves = Curves(self._log, self._show)

    def on_step(self, record: StepRecord) -> None:
        """Write the loss under its objective, the rates, the gradient norm and the speed."""
        self._curves.on_step(record)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        """Write the metrics and the samples."""
        self._curves.on_evaluation(evaluation)

    def on_end(self, report: TrainingReport) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _log(self, step: int, numbers: dict[str, float]) -> None:
        writer = self._open(step)
        for name, value in numbers.items():
            writer.add_scalar(name, value, step)

    def _show(self, step: int, samples: Sequence[Sample]) -> None:
        self._open(step).add_text("samples", samples_text(samples), step)

    def _open(self, step: int) -> Any:
        if self._writer is None:  # a resumed run replaces what a killed one wrote after its checkpoint
            self._writer = self._module.SummaryWriter(str(self.folder), purge_step=step)
            if self.facts:
                told = json.dumps(self.facts, ensure_ascii=False, indent=2, default=str)
                self._writer.add_text("facts", "\n".join(f"    {line}" for line in told.split("\n")), step)
        return self._writer


class TensorBoardRun:
    """A folder of event files for each stage of a run, in its ``tensorboard/``.

    A resumed run replaces what a killed one wrote after its checkpoint.
    """

    def __init__(self, folder: Path, project: str, name: str, facts: Mapping[str, Any], resume: bool) -> None:
        self.folder = folder / "tensorboard"
        self.facts = {"project": project, "run": name, **facts}

    def stage(self, name: str) -> TensorBoard:
        """What a stage tells."""
        return TensorBoard(self.folder / name, self.facts)

    def close(self, stopped: Stopped) -> None:
        """Nothing: each stage closes its own file."""
