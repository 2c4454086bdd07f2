"""The curves of a run in Weights & Biases, offline: ``wandb sync`` sends them where one wants them."""

from __future__ import annotations

import contextlib
import importlib
import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from flanrec.tuning.report import Sample, Stopped
from flanrec.tuning.tracking.curves import SAMPLE_COLUMNS, Curves, sample_rows
from flanrec.tuning.tracking.environment import settled

_EXIT_CODES: Mapping[str, int] = {"finished": 0, "early": 0, "interrupted": 130}


class WandbRun:
    """One run of W&B for all stages; each stage has its own axis of steps, ``STAGE/step``.

    Nothing is sent and no account is needed, unless ``WANDB_MODE`` says otherwise. Its id lies in the folder, so that a
    resumed run goes on under it.

    Parameters
    ----------
    folder
        Of the run; everything is written into its ``wandb/``.
    project, name
        How W&B calls it.
    facts
        The run's settings, data and backbone: its config.
    resume
        Go on with the run whose id the folder has.
    """

    def __init__(self, folder: Path, project: str, name: str, facts: Mapping[str, Any], resume: bool) -> None:
        own = folder.resolve() / "wandb"
        own.mkdir(parents=True, exist_ok=True)
        self._mark = own / "run-id.txt"
        if not (resume and self._mark.is_file()):
            self._mark.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
        places = {f"WANDB_{kind}_DIR": str(own / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA", "ARTIFACT")}
        with contextlib.ExitStack() as closing:
            closing.enter_context(settled({"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", **places}))
            self._wandb: Any = importlib.import_module("wandb")
            self._run: Any = self._wandb.init(
                project=project,
                name=name,
                id=self._mark.read_text(encoding="utf-8").strip(),
                resume="allow",
                reinit="create_new",
                config=dict(facts),
                dir=str(own.parent),
                settings=self._wandb.Settings(
                    silent=True, console="off", save_code=False, disable_git=True, disable_code=True,
                    x_disable_meta=True, x_disable_machine_info=True, x_disable_stats=True, x_save_requirements=False,
                ),
            )  # fmt: skip
            self._closing = closing.pop_all()

    def stage(self, name: str) -> Curves:
        """What a stage tells."""
        self._run.define_metric(f"{name}/step", hidden=True)
        self._run.define_metric(f"{name}/*", step_metric=f"{name}/step")
        return Curves(partial(self._log, name), partial(self._show, name))

    def close(self, stopped: Stopped) -> None:
        """Write everything out and close the run; one that finished is not gone on with."""
        with self._closing:
            self._run.finish(exit_code=_EXIT_CODES.get(stopped, 1))
        if stopped == "finished":
            self._mark.unlink(missing_ok=True)

    def _log(self, stage: str, step: int, numbers: Mapping[str, Any]) -> None:
        self._run.log({f"{stage}/step": step, **{f"{stage}/{name}": value for name, value in numbers.items()}})

    def _show(self, stage: str, step: int, samples: Sequence[Sample]) -> None:
        table = self._wandb.Table(columns=list(SAMPLE_COLUMNS), data=sample_rows(samples))
        self._log(stage, step, {"samples": table})
