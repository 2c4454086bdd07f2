"""Tuning as a job: in this process, in those that a launcher started, or in workers under Ray Train.

Ray starts the workers again when one dies; they then go on from the newest checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from flanrec.data.dataset import Dataset
from flanrec.distributed.cluster import ray_cluster
from flanrec.distributed.following import following
from flanrec.distributed.watching import facts_of, watching
from flanrec.errors import FlanrecError, SettingsError
from flanrec.recommender import Recommender, RecommenderSettings, transferred
from flanrec.tuning import Tracking

_DEATHS = 3
"""How many times workers may die before a run is given up."""


@dataclass(frozen=True)
class TrainJob:
    """What every worker must know.

    Attributes
    ----------
    dataset : Dataset
        What is learnt from.
    settings : RecommenderSettings
    out, folder : str
        Where the recommender, and checkpoints and curves go: folders that all workers see.
    backbone, revision : str, optional
        See `load_backbone`.
    resume : bool
        Go on from the checkpoints in `folder`.
    tracking : Tracking
        Which libraries are told of the run, besides the curves in `folder`.
    device : str
    examples : function, optional
        Makes the table of instructions of one's own, in the first process.
    start_from : str, optional
        Folder of a saved recommender of another log, with whose T5 to begin in place of `backbone`.
    """

    dataset: Dataset
    settings: RecommenderSettings
    out: str
    folder: str
    backbone: str | None = None
    revision: str | None = None
    resume: bool = False
    tracking: Tracking = field(default_factory=Tracking)
    device: str = "auto"
    examples: Callable[[], pl.DataFrame] | None = None
    start_from: str | None = None


def train(job: TrainJob) -> dict[str, Any]:
    """Fit a recommender and save it, in this process or together with those that a launcher started with it.

    Returns
    -------
    dict
        What `flanrec train --json` prints of the run: ``backbone``, ``validation_ndcg@10``, ``seconds``, ``stages``,
        ``fusion`` and ``settings``.

    Raises
    ------
    FlanrecError
        See `Recommender.fit`.
    """
    if job.start_from is None:
        recommender = Recommender.from_pretrained(job.backbone, job.settings, revision=job.revision, device=job.device)
    else:
        recommender = transferred(job.start_from, job.settings, device=job.device)
    folder = Path(job.folder)
    with watching(folder, job.tracking, lambda: facts_of(recommender, job.dataset), resume=job.resume) as told:
        recommender.fit(job.dataset, folder=folder, resume=job.resume, callbacks=told, examples=job.examples)
        recommender.save_pretrained(job.out)
    return course_of(recommender)


def train_by_ray(job: TrainJob, workers: int, *, threads: int = 1, address: str | None = None) -> dict[str, Any]:
    """Fit a recommender in several workers under Ray Train, one GPU each where the cluster has as many, and save it.

    Parameters
    ----------
    workers : int
        At least 1. They share each batch: the course is that of one process, but for rounding and dropout.
    threads : int
        Of each worker.
    address : str, optional
        Of a running Ray cluster; by default one is started on this machine.

    Returns
    -------
    dict
        See `train`.

    Raises
    ------
    SettingsError
        A number is below 1, or Ray is not installed.
    FlanrecError
        What a worker raised.
    """
    if workers < 1 or threads < 1:
        raise SettingsError(f"workers is {workers} and threads {threads}: both must be at least 1")
    with ray_cluster(workers * threads, address) as ray, following(Path(job.folder)):
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        on_gpu = job.device != "cpu" and ray.cluster_resources().get("GPU", 0) >= workers
        told = TorchTrainer(
            _work,
            # A worker that follows a dead one finds checkpoints; whoever asks for a new run has looked for old ones.
            train_loop_config={"job": replace(job, resume=True), "threads": threads},
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=on_gpu, resources_per_worker={"CPU": threads, "GPU": int(on_gpu)}
            ),
            run_config=RunConfig(
                name="ray", storage_path=str(Path(job.folder).resolve()),
                failure_config=FailureConfig(max_failures=_DEATHS),
            ),
        ).fit().return_value  # fmt: skip
    if isinstance(told, FlanrecError):
        raise told
    course: dict[str, Any] = told
    return course


def course_of(recommender: Recommender) -> dict[str, Any]:
    """How the last fit of a recommender went, as plain values; see `train`."""
    stages = {
        name: {
            "steps": report.steps,
            "seconds": round(report.seconds, 1),
            "last_loss": report.losses[-1] if report.losses else None,
            "best_step": report.best_step,
            "validation_ndcg@10": report.best_value,
            "stopped": report.stopped,
            "trained": report.trained,
        }
        for name, report in recommender.reports.items()
        if report.steps
    }
    return {
        "backbone": recommender.backbone.source.name,
        "validation_ndcg@10": recommender.reports["item tokens"].best_value,
        "seconds": round(sum(report.seconds for report in recommender.reports.values()), 1),
        "stages": stages,
        "fusion": [verdict.to_dict() for verdict in recommender.parts.fusion.verdicts],
        "verdicts": [verdict.to_text() for verdict in recommender.parts.fusion.verdicts],
        "settings": recommender.settings.model_dump(mode="json"),
    }


def _work(config: dict[str, Any]) -> dict[str, Any] | FlanrecError:
    """What a worker of Ray Train does; the driver gets what the first one returns."""
    import torch

    torch.set_num_threads(config["threads"])
    try:
        return train(config["job"])
    except FlanrecError as problem:
        return problem  # raised, it would count as a death, and the workers be started again to end here again
