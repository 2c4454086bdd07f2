"""The recommender of a comparison: a saved one, or one that is fitted on what a task lets methods know."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

import flanrec
from flanrec.artefact import MANIFEST, sha256_of, write_text_atomically
from flanrec.data import Dataset
from flanrec.errors import DataError
from flanrec.evaluation.tasks import RankingTask
from flanrec.recommender import Recommender, RecommenderSettings
from flanrec.recommender.saving import is_saved
from flanrec.recommender.stages import Callbacks

logger = logging.getLogger(__name__)
_PAIR = ("user_id", "item_id")


@dataclass(frozen=True)
class Contender:
    """A recommender that knows what a task lets it know, and no more.

    Attributes
    ----------
    identity
        Tells it from others: what it was fitted with, or the checksum of its folder.
    seconds
        What fitting took, nan where it is not known.
    notes
        What a reader must know.
    """

    recommender: Recommender
    identity: str
    seconds: float
    notes: tuple[str, ...] = ()


Contenders = Callable[[RankingTask], Contender | None]
"""Makes or finds the recommender of a task; None where there is none."""


def saved_contender(folder: Path, task: RankingTask, device: str = "auto") -> Contender:
    """A saved recommender, for a task whose held-out events it does not know.

    Raises
    ------
    CheckpointError
        The folder holds no recommender, or a damaged one.
    DataError
        The recommender has another catalogue, or knows events that are held out.
    """
    recommender = Recommender.load(folder, device=device)
    theirs = [str(item) for item in recommender.parts.catalogue.item_ids]
    if theirs != [str(item) for item in task.known.item_ids]:
        raise DataError(
            f"{folder} was fitted on another table of items, or another order of it ({len(theirs)} items against "
            f"{task.n_items}); give the items it was fitted on"
        )
    log = _pairs(recommender.parts.dataset)
    held_out = _held_out(task).join(_pairs(task.known), on=_PAIR, how="anti")
    met = held_out.join(log, on=_PAIR, how="semi").height
    if met:
        raise DataError(
            f"{folder} knows {met} of {held_out.height} events that {task.rule} holds out; fit it on the training "
            "part alone (flanrec data split writes it), or leave out --model and give --preset"
        )
    notes = []
    if log.height != task.known.interactions.height:
        notes.append(
            f"the saved recommender was fitted on {log.height} events, all other rows on "
            f"{task.known.interactions.height}"
        )
    return Contender(recommender, f"saved {sha256_of(folder / MANIFEST)}", float("nan"), tuple(notes))


def fitted_contender(
    task: RankingTask,
    settings: RecommenderSettings,
    folder: Path,
    *,
    backbone: str | None = None,
    device: str = "auto",
    callbacks: Callbacks | None = None,
) -> Contender:
    """Fit a recommender on a task's known events, or load the one that an earlier call fitted just so.

    Parameters
    ----------
    folder
        Where the fitted recommender is kept, and checkpoints while it is being fitted.
    backbone, device
        As `Recommender.from_pretrained` takes them.
    callbacks
        As `Recommender.fit` takes them.
    """
    said = json.dumps([flanrec.__version__, task.known_fingerprint, settings.model_dump(mode="json"), backbone])
    identity = hashlib.sha256(said.encode()).hexdigest()[:24]
    model, run, clock = (folder / f"{kind}-{identity}" for kind in ("model", "fit", "seconds"))
    if is_saved(model) and clock.is_file():
        logger.info("%s was fitted before", model)
        return Contender(Recommender.load(model, device=device), identity, float(clock.read_text("utf-8")))
    began = time.perf_counter()
    recommender = Recommender.from_pretrained(backbone, settings, device=device)
    recommender.fit(task.known, folder=run, resume=run.exists(), callbacks=callbacks)
    seconds = time.perf_counter() - began
    recommender.save_pretrained(model)
    write_text_atomically(clock, f"{seconds!r}\n")
    shutil.rmtree(run, ignore_errors=True)
    return Contender(recommender, identity, seconds)


def _held_out(task: RankingTask) -> pl.DataFrame:
    rows = [
        row for row, count in enumerate(task.relevant.offsets[1:] - task.relevant.offsets[:-1]) for _ in range(count)
    ]
    return pl.DataFrame(
        {
            "user_id": [str(task.user_ids[row]) for row in rows],
            "item_id": [str(task.known.item_ids[item]) for item in task.relevant.items],
        },
        schema={"user_id": pl.String, "item_id": pl.String},
    )


def _pairs(dataset: Dataset) -> pl.DataFrame:
    return dataset.interactions.select(pl.col(name).cast(pl.String) for name in _PAIR)
