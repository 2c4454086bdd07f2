"""Training checkpoints: folders that are whole or passed over, without pickles.

    checkpoints/step-00000120/   state.json, weights.safetensors, optimiser.safetensors, and where there are such
                                 average.safetensors, companions.safetensors
    checkpoints/best-00000100/   weights.safetensors, shared by the checkpoints that name it

Each folder is sealed by a manifest that is written last (`flanrec.artefact.saving`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from flanrec.artefact import saving, verify_manifest
from flanrec.errors import CheckpointError
from flanrec.tuning.fingerprint import refuse_difference
from flanrec.tuning.report import Evaluation, TrainingReport

logger = logging.getLogger(__name__)

KIND = "training-checkpoint"
FORMAT = 1
_NAME = re.compile(r"step-\d{8,}")


@dataclass(frozen=True)
class TrainingState:
    """All that a run needs to go on; tensors are in main memory."""

    report: TrainingReport
    weights: dict[str, Tensor]
    optimiser_tensors: dict[str, Tensor]
    optimiser_numbers: dict[str, float | int | None]
    average: dict[str, Tensor] | None
    average_updates: int
    best: dict[str, Tensor] | None
    """Weights of the best evaluation so far."""
    fingerprint: dict[str, Any]
    companions: dict[str, Tensor] = field(default_factory=dict)
    """What goes along with the steps; see `flanrec.tuning.companions`."""


class Checkpoints:
    """The checkpoints of one run in one folder."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def names(self) -> list[str]:
        """Return the names of all checkpoints, oldest first, whether whole or not."""
        if not self.folder.is_dir():
            return []
        found = [path.name for path in self.folder.iterdir() if path.is_dir() and _NAME.fullmatch(path.name)]
        return sorted(found, key=_step_of)

    def refuse_existing(self) -> None:
        """Raise CheckpointError when there are checkpoints already: a new run would mix with them."""
        if names := self.names():
            raise CheckpointError(
                f"{self.folder} holds checkpoints of an earlier run, the newest {names[-1]}. "
                "Resume it, remove the folder, or give another one."
            )

    def save(self, state: TrainingState) -> Path:
        """Write one checkpoint, all or nothing, and delete those that are too old."""
        step = state.report.steps
        target = self.folder / f"step-{step:08d}"
        best_name = None
        if state.best is not None:
            best_name = f"best-{state.report.best_step:08d}"
            self._save_best(best_name, state.best)
        body = {
            "report": dataclasses.asdict(state.report),
            "optimiser_numbers": state.optimiser_numbers,
            "average_updates": state.average_updates,
            "best": best_name,
            "fingerprint": state.fingerprint,
        }
        with saving(target, {"kind": KIND, "format": FORMAT, "step": step}) as draft:
            (draft / "state.json").write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8")
            save_file(state.weights, draft / "weights.safetensors")
            save_file(state.optimiser_tensors, draft / "optimiser.safetensors")
            if state.average is not None:
                save_file(state.average, draft / "average.safetensors")
            if state.companions:
                save_file(state.companions, draft / "companions.safetensors")
        logger.info("checkpoint %s", target)
        self._prune()
        return target

    def load_newest(self, fingerprint: Mapping[str, Any]) -> TrainingState | None:
        """Read the newest whole checkpoint; a damaged newer one is reported by name and set aside.

        Returns
        -------
        TrainingState or None
            None when there is no checkpoint at all.

        Raises
        ------
        CheckpointError
            There are checkpoints but none is whole, or the run that wrote them differs from this one;
            the message says in what.
        """
        names = self.names()
        for name in reversed(names):
            try:
                body = self._verified(name)
                refuse_difference(self.folder / name, body["fingerprint"], fingerprint)
            except _DamagedError as problem:
                logger.warning("checkpoint %s is damaged and is not used: %s", self.folder / name, problem)
                self._set_aside(name)
                continue
            state = self._read(name, body)
            logger.info("resuming after step %d from %s", state.report.steps, self.folder / name)
            return state
        if names:
            raise CheckpointError(
                f"All checkpoints in {self.folder} are damaged: {', '.join(names)}. "
                "Start again in another folder, or restore one from a copy."
            )
        return None

    def _save_best(self, name: str, best: dict[str, Tensor]) -> None:
        target = self.folder / name
        with contextlib.suppress(CheckpointError):
            verify_manifest(target, content=False)
            return  # the weights of that evaluation are there already
        if target.exists():
            self._set_aside(name)
        with saving(target, {"kind": "best-weights"}) as draft:
            save_file(best, draft / "weights.safetensors")

    def _verified(self, name: str) -> dict[str, Any]:
        """Check a checkpoint and the best weights that it names, and return its state.json."""
        folder = self.folder / name
        try:
            about = verify_manifest(folder)
            if about.get("kind") != KIND:
                raise CheckpointError(f"{folder} holds a {about.get('kind', 'folder')!s}, not a training checkpoint.")
            body: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            if body.get("best") is not None:
                verify_manifest(self.folder / body["best"])
        except CheckpointError as problem:
            raise _DamagedError(str(problem)) from problem
        if about.get("format") != FORMAT:
            raise CheckpointError(
                f"{folder} has format {about.get('format')!r}, this version of flanrec reads {FORMAT}. "
                "Resume with the version that wrote it, or start in another folder."
            )
        return body

    def _read(self, name: str, body: dict[str, Any]) -> TrainingState:
        folder = self.folder / name
        average, companions = folder / "average.safetensors", folder / "companions.safetensors"
        told = body["report"]
        report = TrainingReport(**{**told, "evaluations": [Evaluation(**one) for one in told["evaluations"]]})
        return TrainingState(
            report=dataclasses.replace(report, stopped="finished"),
            weights=load_file(folder / "weights.safetensors"),
            optimiser_tensors=load_file(folder / "optimiser.safetensors"),
            optimiser_numbers=body["optimiser_numbers"],
            average=load_file(average) if average.is_file() else None,
            average_updates=body["average_updates"],
            best=load_file(self.folder / body["best"] / "weights.safetensors") if body["best"] else None,
            fingerprint=body["fingerprint"],
            companions=load_file(companions) if companions.is_file() else {},
        )

    def _set_aside(self, name: str) -> None:
        """Rename a damaged folder, so that the step can be saved again under its name."""
        aside = self.folder / f"{name}.damaged"
        with contextlib.suppress(OSError):
            shutil.rmtree(aside, ignore_errors=True)
            (self.folder / name).rename(aside)

    def _prune(self) -> None:
        names = self.names()
        for name in names[: -self.keep]:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        used = set()
        for name in names[-self.keep :]:
            with contextlib.suppress(OSError, ValueError, KeyError):
                used.add(json.loads((self.folder / name / "state.json").read_text(encoding="utf-8"))["best"])
        for path in self.folder.glob("best-*"):
            if path.name not in used and not path.name.endswith(".damaged"):
                shutil.rmtree(path, ignore_errors=True)


class _DamagedError(Exception):
    """Raised inside this file for a checkpoint that is not whole."""


def _step_of(name: str) -> int:
    return int(name.removeprefix("step-"))
