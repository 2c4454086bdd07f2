"""The curves of a run in MLflow, in a SQLite file of the run's folder or where ``MLFLOW_TRACKING_URI`` says."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from flanrec.tuning.report import Sample, Stopped
from flanrec.tuning.tracking.curves import SAMPLE_COLUMNS, Curves, flat, sample_rows
from flanrec.tuning.tracking.environment import settled

_STATES: Mapping[str, str] = {"finished": "FINISHED", "early": "FINISHED", "interrupted": "KILLED"}
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}
_STORE = "MLFLOW_TRACKING_URI"
_TOGETHER = 100
_PAUSE = 2.0
"""Seconds between writes: each is a transaction."""


class MlflowRun:
    """One run of MLflow for all stages; metrics are called ``STAGE/NAME``.

    Its id lies in the folder, so that a resumed run goes on under it.

    Parameters
    ----------
    folder
        Of the run; without ``MLFLOW_TRACKING_URI`` everything is written into its ``mlflow/``.
    project, name
        The experiment, and how MLflow calls the run.
    facts
        The run's settings, data and backbone: its parameters.
    resume
        Go on with the run whose id the folder has.
    """

    def __init__(self, folder: Path, project: str, name: str, facts: Mapping[str, Any], resume: bool) -> None:
        own = folder.resolve() / "mlflow"
        own.mkdir(parents=True, exist_ok=True)
        mark = self._mark = own / "run-id.txt"
        with contextlib.ExitStack() as closing:
            closing.enter_context(settled(_QUIET))
            tracking, entities = (importlib.import_module(f"mlflow.{part}") for part in ("tracking", "entities"))
            store = os.environ.get(_STORE)
            self._metric: Any = entities.Metric
            self._client: Any = tracking.MlflowClient(tracking_uri=store or f"sqlite:///{own / 'mlflow.db'}")
            if resume and mark.is_file():
                self._id = mark.read_text(encoding="utf-8").strip()
                self._client.update_run(self._id, status="RUNNING")
            else:
                place = None if store else (own / "artifacts").as_uri()
                found = self._client.get_experiment_by_name(project)
                number = found.experiment_id if found else self._client.create_experiment(project, place)
                self._id = self._client.create_run(number, run_name=name).info.run_id
                mark.write_text(self._id, encoding="utf-8")
                params = [entities.Param(_named(key), text) for key, text in flat(facts)]
                for first in range(0, len(params), _TOGETHER):
                    self._client.log_batch(self._id, params=params[first : first + _TOGETHER])
            self._closing = closing.pop_all()
        self._waiting: list[Any] = []
        self._written = time.monotonic()

    def stage(self, name: str) -> Curves:
        """What a stage tells."""
        return Curves(partial(self._log, name), partial(self._show, name))

    def close(self, stopped: Stopped) -> None:
        """Write everything out and close the run; one that finished is not gone on with."""
        with self._closing:
            self._write()
            self._client.set_terminated(self._id, _STATES.get(stopped, "FAILED"))
        if stopped == "finished":
            self._mark.unlink(missing_ok=True)

    def _log(self, stage: str, step: int, numbers: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        self._waiting += [self._metric(_named(f"{stage}/{name}"), value, now, step) for name, value in numbers.items()]
        if time.monotonic() - self._written >= _PAUSE:
            self._write()

    def _show(self, stage: str, step: int, samples: Sequence[Sample]) -> None:
        self._write()
        rows = [dict(zip(SAMPLE_COLUMNS, row, strict=True)) for row in sample_rows(samples)]
        self._client.log_dict(self._id, {"samples": rows}, f"{stage}/samples-{step:08d}.json")

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        for first in range(0, len(waiting), _TOGETHER):
            self._client.log_batch(self._id, metrics=waiting[first : first + _TOGETHER])
        self._written = time.monotonic()


def _named(name: str) -> str:
    """A name of the letters that MLflow takes."""
    return re.sub(r"[^\w.\- :/]", "_", name)
