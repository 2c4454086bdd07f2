"""Lists for many users: a plan of numbered parts, each answered whole or not at all, by any number of workers.

A part's users lie in ``inputs/part-N.parquet`` and its lists in ``part-N.parquet``, put there by one rename. So a part
that a killed worker left is simply missing, one that is answered twice is replaced by the same rows, and no user is
lost or doubled; the same command after a kill answers the parts that are missing. At the end all parts are counted
against the plan, and a manifest seals the folder.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from flanrec.artefact import MANIFEST, sha256_of, verify_manifest, write_manifest, write_text_atomically
from flanrec.catalogue.people import Person, people
from flanrec.data.dataset import Dataset
from flanrec.errors import CheckpointError, SettingsError
from flanrec.recommender import Recommender
from flanrec.recommender.answering import Reading
from flanrec.recommender.tables import recommendations

logger = logging.getLogger(__name__)

_PLAN = "plan.json"
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
        ids, persons = self._people(pl.read_parquet(_input(folder, part)))
        catalogue, dataset = self.recommender.parts.catalogue, self.recommender.parts.dataset
        items = np.full((len(persons), min(self.job.k, len(catalogue))), -1, dtype=np.int64)
        scores = np.full(items.shape, -np.inf, dtype=np.float32)
        for first in range(0, len(persons), _TOGETHER):
            some = slice(first, first + _TOGETHER)
            items[some], scores[some] = self.recommender.rank(persons[some], self.job.k, reading=self.job.reading)
        _write(recommendations(ids, items, scores, dataset, catalogue.item_ids), _output(folder, part))
        return len(ids)

    def _people(self, asked: pl.DataFrame) -> tuple[list[Any], list[Person]]:
        ids = asked["user_id"].unique(maintain_order=True).to_list()
        if "item_id" not in asked.columns:
            return ids, self.recommender.people(ids)
        items = self.recommender.parts.dataset.items
        return ids, people(Dataset(asked.with_columns(pl.col("item_id").cast(items["item_id"].dtype)), items), ids)


def run_batch(
    job: BatchJob,
    asked: pl.DataFrame,
    *,
    part_size: int = 2000,
    workers: int = 1,
    address: str | None = None,
    resume: bool = False,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Answer users, or go on answering them.

    Parameters
    ----------
    job : BatchJob
    asked : table
        ``user_id`` alone, of users that the model knows; or interactions, which alone are then the users' histories.
    part_size : int
        Users of a part: what is lost at most when a worker dies.
    workers : int
        1 runs in this process; more run under Ray (extra ``distributed``).
    address : str, optional
        Of a running Ray cluster; by default one is started on this machine.
    resume : bool
        Go on with a folder that has parts of the same plan.
    progress : function, optional
        Called with the number of users answered since the last call, those of an earlier run included.

    Returns
    -------
    dict
        ``users``, ``rows``, ``parts``, and ``answered_before``: parts that an earlier run had left.

    Raises
    ------
    SettingsError
        A number is below 1, Ray is not installed, or the folder has parts of another plan.
    CheckpointError
        A part is missing or has other users than planned at the end.
    """
    if part_size < 1 or workers < 1:
        raise SettingsError(f"part size is {part_size} and workers {workers}: both must be at least 1")
    folder = Path(job.folder)
    sizes = _planned(job, asked, part_size, resume)
    before = [part for part in range(len(sizes)) if _output(folder, part).is_file()]
    tell = progress or (lambda users: None)
    tell(sum(sizes[part] for part in before))
    left = sorted(set(range(len(sizes))) - set(before))
    if left:
        logger.info("%d of %d parts are to be answered", len(left), len(sizes))
    for users in _locally(job, left) if workers == 1 else _by_ray(job, left, workers, address):
        tell(users)
    return _sealed(job, sizes) | {"answered_before": len(before)}


def _planned(job: BatchJob, asked: pl.DataFrame, part_size: int, resume: bool) -> list[int]:
    """The number of users of each part, after laying out the inputs once."""
    folder = Path(job.folder)
    if (folder / MANIFEST).is_file():
        raise SettingsError(f"{folder} is finished already; give another folder, or remove it")
    # No path of this machine: the model is known by its content.
    described = {
        "k": job.k,
        "reading": job.reading,
        "engine": Path(job.engine).name,
        "model": sha256_of(Path(job.model) / MANIFEST) if (Path(job.model) / MANIFEST).is_file() else "",
        "asked": str(asked.hash_rows(seed=0).sum()),
        "rows": asked.height,
        "part_size": part_size,
    }
    plan = folder / _PLAN
    if plan.is_file():
        known: dict[str, Any] = json.loads(plan.read_text(encoding="utf-8"))
        other = sorted(name for name, value in described.items() if known["job"].get(name) != value)
        if other:
            raise SettingsError(f"{folder} has parts of another job ({', '.join(other)} differ); give another folder")
        if not resume:
            raise SettingsError(f"{folder} has parts of this job already; --resume goes on with them")
        sizes: list[int] = known["sizes"]
        return sizes
    inputs = folder / "inputs"
    if folder.is_dir() and any(path != inputs for path in folder.iterdir()):
        raise SettingsError(f"{folder} has other files; give an empty or a new folder")
    shutil.rmtree(inputs, ignore_errors=True)  # of a run that was killed while it laid them out
    inputs.mkdir(parents=True)
    users = asked["user_id"].unique(maintain_order=True)
    numbered = pl.DataFrame({"user_id": users}).with_columns(
        (pl.int_range(pl.len()) // part_size).cast(pl.Int64).alias("part")
    )
    parted = asked.join(numbered, on="user_id", how="left", maintain_order="left")
    sizes = numbered.group_by("part").len().sort("part")["len"].to_list()
    for part, rows in enumerate(parted.partition_by("part", maintain_order=True)):
        _write(rows.drop("part"), _input(folder, part))
    write_text_atomically(plan, json.dumps({"job": described, "sizes": sizes}, indent=1))
    return sizes


def _locally(job: BatchJob, parts: Sequence[int]) -> Iterator[int]:
    worker = Worker(job) if parts else None
    for part in parts:
        assert worker is not None
        yield worker.answer(part)


def _by_ray(job: BatchJob, parts: Sequence[int], workers: int, address: str | None) -> Iterator[int]:
    """Ray Data gives parts to workers, and those of a worker that dies to another one."""
    if not parts:
        return
    try:
        import ray
    except ImportError as problem:
        raise SettingsError("several workers need Ray; pip install 'flanrec[distributed]'") from problem
    own = not ray.is_initialized()
    if own:
        options: dict[str, Any] = {"address": address} if address else {"num_cpus": workers, "include_dashboard": False}
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        table = ray.data.from_items([{"part": part} for part in parts], override_num_blocks=len(parts))
        answered = table.map_batches(
            Worker, fn_constructor_args=(job,), batch_size=1, num_cpus=1, concurrency=min(workers, len(parts))
        )
        for row in answered.iter_rows():
            yield int(row["users"])
    finally:
        if own:
            ray.shutdown()


def _sealed(job: BatchJob, sizes: Sequence[int]) -> dict[str, Any]:
    """Count what was written, drop the inputs, and seal the folder."""
    folder = Path(job.folder)
    rows = 0
    for part, size in enumerate(sizes):
        path = _output(folder, part)
        if not path.is_file():
            raise CheckpointError(f"{path} is missing; the same command with --resume writes it")
        written = pl.read_parquet(path)
        # Inputs are dropped below once all is compared; a run that is killed in between finds some of them gone.
        if _input(folder, part).is_file():
            planned = pl.read_parquet(_input(folder, part), columns=["user_id"])
            if (
                planned["user_id"].n_unique() != size
                or not written["user_id"].is_in(planned["user_id"].implode()).all()
            ):
                raise CheckpointError(f"{path} has other users than planned; remove it, and run again with --resume")
        rows += written.height
    found = {"users": sum(sizes), "rows": rows, "parts": len(sizes)}
    shutil.rmtree(folder / "inputs", ignore_errors=True)
    write_manifest(folder, {"kind": "batch"} | found)
    return found


def read_batch(folder: Path | str) -> pl.DataFrame:
    """All lists of a finished folder: user_id, item_id, score, rank, in the order asked.

    Raises
    ------
    CheckpointError
        The folder is not finished, or damaged.
    """
    folder = Path(folder)
    if verify_manifest(folder).get("kind") != "batch":
        raise CheckpointError(f"{folder} holds no lists of `flanrec batch`")
    return pl.concat(pl.read_parquet(path) for path in _outputs(folder))


def _outputs(folder: Path) -> Iterable[Path]:
    return sorted(folder.glob("part-*.parquet"))


def _input(folder: Path, part: int) -> Path:
    return folder / "inputs" / f"part-{part:06}.parquet"


def _output(folder: Path, part: int) -> Path:
    return folder / f"part-{part:06}.parquet"


def _write(frame: pl.DataFrame, path: Path) -> None:
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        frame.write_parquet(draft)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
