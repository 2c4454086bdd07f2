"""Several tunings of the T5 with different seeds, and what is kept of them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from flanrec.artefact import saving, verify_manifest
from flanrec.backbone import Backbone
from flanrec.errors import CheckpointError
from flanrec.recommender.stages.material import Callbacks, Material
from flanrec.recommender.stages.measuring import Measurement
from flanrec.tuning import TrainingReport, all_processes
from flanrec.tuning.callbacks import Callback
from flanrec.tuning.parameters import copied, restore
from flanrec.tuning.soup import Weights, best_soup

logger = logging.getLogger(__name__)

RUNS_DONE = "words-run-*-done"
"""Folders of finished runs, beside their checkpoints."""


class _Tune(Protocol):
    def __call__(
        self, backbone: Backbone, *, seed: int, folder: Path | None, callbacks: Callbacks
    ) -> tuple[Backbone, TrainingReport]: ...


def best_run(
    backbone: Backbone,
    material: Material,
    folder: Path | None,
    resume: bool,
    callbacks: Callbacks,
    tune: _Tune,
    measured: Callable[[Backbone, Material], Measurement],
) -> tuple[Backbone, TrainingReport]:
    """Tune copies of a backbone by seeds that follow each other, and keep what validation says is best.

    That is a single run, or the uniform or the greedy average of all their weights (`flanrec.tuning.soup`). Without
    validation users it is the first run. The finished runs are kept in main memory, and in the folder, if there is one,
    so that a killed fit tunes none of them again.

    Returns
    -------
    Backbone, TrainingReport
        The report is that of the best of the runs that go into it, with the seconds of all, and empty where that one
        was finished before.
    """
    settings = material.settings
    reports: list[TrainingReport] = []
    weights: list[Weights] = []
    tuned = backbone
    for number in range(settings.words.runs):
        place = None if folder is None else folder / f"words-run-{number + 1}"
        kept = None if place is None else place.with_name(f"{place.name}-done")
        if kept is not None and resume and all_processes().from_first(kept.exists):
            tuned, report = _finished(kept, material, backbone), TrainingReport()
        else:
            fresh = replace(backbone, model=copy.deepcopy(backbone.model))
            told = _numbered(callbacks, number + 1, settings.words.runs)
            tuned, report = tune(fresh, seed=(settings.seed + number) % 2**32, folder=place, callbacks=told)
            if kept is not None and all_processes().first:
                with saving(kept, {"kind": "stage", **material.identity}) as draft:
                    tuned.save(draft / "backbone")
        reports.append(report)
        weights.append(copied(dict(tuned.model.named_parameters())))
    own = dict(tuned.model.named_parameters())
    ask = measured(tuned, material)

    def value(candidate: Weights) -> float:
        restore(own, candidate)
        return all_processes().from_first(lambda: ask()["ndcg@10"])

    if not ask.asked:
        logger.warning("No validation user tells which of %d runs is best: the first is kept.", len(weights))
        restore(own, weights[0])
        return tuned, reports[0]
    best, values = best_soup(weights, value)
    restore(own, best.weights)
    shown = ", ".join(f"{name} {found:.4f}" for name, found in values.items())
    logger.info("NDCG@10 of generation on validation events: %s. Kept: %s", shown, best.name)
    seconds = sum(report.seconds for report in reports)
    return tuned, replace(reports[best.members[0]], seconds=seconds)


def _finished(folder: Path, material: Material, backbone: Backbone) -> Backbone:
    """A run of a fit that was interrupted later."""
    about = verify_manifest(folder)
    if {name: about.get(name) for name in material.identity} != material.identity:
        raise CheckpointError(
            f"{folder} holds a run of other data or settings; give another folder, or fit without resuming"
        )
    return replace(Backbone.load(folder / "backbone", device=str(backbone.device)), source=backbone.source)


def _numbered(callbacks: Callbacks, number: int, count: int) -> Callbacks:
    """Callbacks that are told which run a stage is of."""

    def told(stage: str) -> Sequence[Callback]:
        return callbacks(f"{stage}, run {number} of {count}")

    return told
