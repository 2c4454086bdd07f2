"""Telling tracking libraries of a run, so that what goes wrong in one of them costs its curves and nothing else."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol

from flanrec.errors import SettingsError
from flanrec.tuning.callbacks import Callback
from flanrec.tuning.report import Evaluation, StepRecord, Stopped, TrainingReport
from flanrec.tuning.tracking.mlflow import MlflowRun
from flanrec.tuning.tracking.tensorboard import TensorBoardRun
from flanrec.tuning.tracking.trackio import TrackioRun
from flanrec.tuning.tracking.wandb import WandbRun

logger = logging.getLogger(__name__)

Library = Literal["tensorboard", "wandb", "mlflow", "trackio"]
EXTRAS: Mapping[Library, str] = MappingProxyType(
    {"tensorboard": "tune", "wandb": "wandb", "mlflow": "mlflow", "trackio": "trackio"}
)
"""The libraries, and the extra of flanrec that installs each."""


@dataclass(frozen=True)
class Tracking:
    """Which libraries are told of a run, and how they call it.

    Attributes
    ----------
    libraries
        Each must be installed; see `EXTRAS`.
    project
        What libraries keep runs under, where they have projects.
    name
        Of the run, where libraries show runs by name.
    """

    libraries: tuple[Library, ...] = ()
    project: str = "flanrec"
    name: str = "run"


class Run(Protocol):
    """A run in a tracking library, over all stages of a fit."""

    def stage(self, name: str) -> Callback:
        """What a stage tells."""
        ...

    def close(self, stopped: Stopped) -> None:
        """Write everything out, and say how the run ended."""
        ...


_RUNS: Mapping[Library, Callable[[Path, str, str, Mapping[str, Any], bool], Run]] = MappingProxyType(
    {"tensorboard": TensorBoardRun, "wandb": WandbRun, "mlflow": MlflowRun, "trackio": TrackioRun}
)


def require(libraries: Sequence[Library]) -> None:
    """Raise SettingsError, naming the extras, where libraries are not installed."""
    missing = [name for name in libraries if importlib.util.find_spec(name) is None]
    if missing:
        extras = ",".join(EXTRAS[name] for name in missing)
        raise SettingsError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed: "
            f"pip install 'flanrec[{extras}]', or leave out --track {' --track '.join(missing)}"
        )


@contextlib.contextmanager
def tracked(
    tracking: Tracking, folder: Path, facts: Callable[[], Mapping[str, Any]], *, resume: bool = False
) -> Iterator[Callable[[str], list[Callback]]]:
    """Inside the block the libraries have a run; yields, from the name of a stage, who is to be told of it.

    Parameters
    ----------
    folder
        Of the run; what the libraries write goes there.
    facts
        Gives settings, data and backbone as plain values by name; called only where a library wants them.
    resume
        Go on with the libraries' runs in `folder`, where there are some.

    Raises
    ------
    SettingsError
        A library is not installed. Whatever else goes wrong in one is logged, once, and it is told no more.
    """
    require(tracking.libraries)
    told = facts() if tracking.libraries else {}
    runs: list[tuple[_Guard, Run]] = []
    for name in tracking.libraries:
        guard = _Guard(name)
        run = guard.call(_RUNS[name], folder, tracking.project, tracking.name, told, resume)
        if run is not None:
            runs.append((guard, run))

    def stage(name: str) -> list[Callback]:
        made = [(guard, guard.call(run.stage, name)) for guard, run in runs]
        return [_Guarded(guard, callback) for guard, callback in made if callback is not None]

    stopped: Stopped = "failed"
    try:
        yield stage
        stopped = "finished"
    except KeyboardInterrupt:
        stopped = "interrupted"
        raise
    finally:
        for guard, run in runs:
            guard.close(run, stopped)


class _Guard:
    """Calls into a library; after the first error, which is logged, nothing is called any more."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.broken = False

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function returns, or None where it fails or one before it has."""
        if self.broken:
            return None
        try:
            return function(*arguments)
        except Exception as problem:
            self.broken = True
            logger.warning("%s is told no more of this run, which goes on: %s: %s", self.name,
                           type(problem).__name__, problem)  # fmt: skip
            return None

    def close(self, run: Run, stopped: Stopped) -> None:
        """Close the run, also where it is broken."""
        if self.broken:
            with contextlib.suppress(Exception):
                run.close("failed")
        self.call(run.close, stopped)


class _Guarded:
    """A callback whose failures a guard keeps from the run."""

    def __init__(self, guard: _Guard, callback: Callback) -> None:
        self.guard = guard
        self.callback = callback

    def on_step(self, record: StepRecord) -> None:
        self.guard.call(self.callback.on_step, record)

    def on_evaluation(self, evaluation: Evaluation) -> None:
        self.guard.call(self.callback.on_evaluation, evaluation)

    def on_end(self, report: TrainingReport) -> None:
        self.guard.call(self.callback.on_end, report)
