"""A worker of a batch: it loads the model once, and answers parts by their numbers."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from flanrec.catalogue.people import Person, people
from flanrec.data.dataset import Dataset
from flanrec.recommender import Recommender
from flanrec.recommender.answering import Reading
from flanrec.recommender.tables import recommendations

_TOGETHER = 256


@dataclass(frozen=True)
class BatchJob:
    """What every worker must know.

    Attributes
    ----------
    model : str
        Folder of a saved recommender, which all workers can read.
    folder : str
        Where the parts go, which all workers can write.
    k : int
    reading : "fused", "item_tokens" or "generate"
    device, engine : str
        See :meth:`Recommender.load` and :meth:`Recommender.use_engine`.
    threads : int
        Of each worker.
    """

    model: str
    folder: str
    k: int = 10
    reading: Reading = "fused"
    device: str = "auto"
    engine: str = "torch"
    threads: int = 1


class Worker:
    """Loads the model once and answers parts. Ray makes one in each of its workers."""

    def __init__(self, job: BatchJob) -> None:
        import torch

        torch.set_num_threads(job.threads)
        self.job = job
        self.recommender = Recommender.load(job.model, device=job.device)
        self.recommender.use_engine(job.engine)

    def __call__(self, parts: dict[str, Any]) -> dict[str, Any]:
        """Answer the parts whose numbers are given, and say how many users each had."""
        return {"part": parts["part"], "users": np.array([self.answer(int(part)) for part in parts["part"]])}

    def answer(self, part: int) -> int:
        """Write the lists of one part; return its number of users."""
        folder = Path(self.job.folder)
        ids, persons = self._people(pl.read_parquet(input_of(folder, part)))
        catalogue, dataset = self.recommender.parts.catalogue, self.recommender.parts.dataset
        items = np.full((len(persons), min(self.job.k, len(catalogue))), -1, dtype=np.int64)
        scores = np.full(items.shape, -np.inf, dtype=np.float32)
        for first in range(0, len(persons), _TOGETHER):
            some = slice(first, first + _TOGETHER)
            items[some], scores[some] = self.recommender.rank(persons[some], self.job.k, reading=self.job.reading)
        put(recommendations(ids, items, scores, dataset, catalogue.item_ids), output_of(folder, part))
        return len(ids)

    def _people(self, asked: pl.DataFrame) -> tuple[list[Any], list[Person]]:
        ids = asked["user_id"].unique(maintain_order=True).to_list()
        if "item_id" not in asked.columns:
            return ids, self.recommender.people(ids)
        items = self.recommender.parts.dataset.items
        return ids, people(Dataset(asked.with_columns(pl.col("item_id").cast(items["item_id"].dtype)), items), ids)


def input_of(folder: Path, part: int) -> Path:
    """Where the users of a part lie."""
    return folder / "inputs" / f"part-{part:06}.parquet"


def output_of(folder: Path, part: int) -> Path:
    """Where the lists of a part go."""
    return folder / f"part-{part:06}.parquet"


def put(frame: pl.DataFrame, path: Path) -> None:
    """Write a table so that a crash leaves all of it or nothing."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        frame.write_parquet(draft)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
