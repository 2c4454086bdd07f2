"""Lists for many users: a plan of numbered parts, each answered whole or not at all, by any number of workers.

A part's users lie in ``inputs/part-N.parquet`` and its lists in ``part-N.parquet``, put there by one rename. So a part
that a killed worker left is simply missing, one that is answered twice is replaced by the same rows, and no user is
lost or doubled; the same command after a kill answers the parts that are missing. At the end all parts are counted
against the plan, and a manifest seals the folder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from flanrec.distributed.cluster import ray_cluster
from flanrec.distributed.parts import planned, sealed
from flanrec.distributed.worker import BatchJob, Worker, output_of
from flanrec.errors import SettingsError

logger = logging.getLogger(__name__)


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
    sizes = planned(job, asked, part_size, resume)
    before = [part for part in range(len(sizes)) if output_of(folder, part).is_file()]
    tell = progress or (lambda users: None)
    tell(sum(sizes[part] for part in before))
    left = sorted(set(range(len(sizes))) - set(before))
    if left:
        logger.info("%d of %d parts are to be answered", len(left), len(sizes))
    for users in _locally(job, left) if workers == 1 else _by_ray(job, left, workers, address):
        tell(users)
    return sealed(job, sizes) | {"answered_before": len(before)}


def _locally(job: BatchJob, parts: Sequence[int]) -> Iterator[int]:
    worker = Worker(job) if parts else None
    for part in parts:
        assert worker is not None
        yield worker.answer(part)


def _by_ray(job: BatchJob, parts: Sequence[int], workers: int, address: str | None) -> Iterator[int]:
    """Ray Data gives parts to workers, and those of a worker that dies to another one."""
    if not parts:
        return
    with ray_cluster(workers, address) as ray:
        ray.data.DataContext.get_current().enable_progress_bars = False
        table = ray.data.from_items([{"part": part} for part in parts], override_num_blocks=len(parts))
        answered = table.map_batches(
            Worker, fn_constructor_args=(job,), batch_size=1, num_cpus=1, concurrency=min(workers, len(parts))
        )
        for row in answered.iter_rows():
            yield int(row["users"])
