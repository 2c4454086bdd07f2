"""The curves of a run in Trackio, in the run's folder or where ``TRACKIO_DIR`` says."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from flanrec.errors import SettingsError
from flanrec.tuning.report import Sample, Stopped
from flanrec.tuning.tracking.curves import SAMPLE_COLUMNS, Curves, sample_rows
from flanrec.tuning.tracking.environment import settled


class TrackioRun:
    """One run of Trackio for all stages; metrics are called ``STAGE/NAME``.

    A resumed run goes on with the newest run of its name.

    Parameters
    ----------
    folder
        Of the run; without ``TRACKIO_DIR`` everything is written into its ``trackio/``.
    project, name
        How Trackio calls it.
    facts
        The run's settings, data and backbone: its config.
    resume
        Go on with the newest run of this name.

    Raises
    ------
    SettingsError
        Trackio was used in this process with another folder, which it keeps.
    """

    def __init__(self, folder: Path, project: str, name: str, facts: Mapping[str, Any], resume: bool) -> None:
        own = folder.resolve() / "trackio"
        own.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as closing:
            closing.enter_context(settled({"TRACKIO_DIR": str(own), "HF_HUB_DISABLE_TELEMETRY": "1"}))
            closing.enter_context(contextlib.redirect_stdout(io.StringIO()))  # it says how to look at the run
            self._trackio: Any = importlib.import_module("trackio")
            if Path(self._trackio.TRACKIO_DIR).resolve() != Path(os.environ["TRACKIO_DIR"]).resolve():
                raise SettingsError(
                    f"Trackio keeps the folder that it began with in this process, {self._trackio.TRACKIO_DIR}; "
                    "set TRACKIO_DIR to one folder for all runs"
                )
            self._run: Any = self._trackio.init(
                project=project, name=name, config=dict(facts), resume="allow" if resume else "never",
                embed=False, auto_log_cpu=False, auto_log_gpu=False,
            )  # fmt: skip

    def stage(self, name: str) -> Curves:
        """What a stage tells."""
        return Curves(partial(self._log, name), partial(self._show, name))

    def close(self, stopped: Stopped) -> None:
        """Write everything out and close the run."""
        with contextlib.redirect_stdout(io.StringIO()):
            self._trackio.finish()

    def _log(self, stage: str, step: int, numbers: Mapping[str, Any]) -> None:
        self._run.log({f"{stage}/{name}": value for name, value in numbers.items()}, step=step)

    def _show(self, stage: str, step: int, samples: Sequence[Sample]) -> None:
        self._log(stage, step, {"samples": self._trackio.Table(list(SAMPLE_COLUMNS), sample_rows(samples))})
