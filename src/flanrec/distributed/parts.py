"""The parts of a batch on disk: laid out once, each put in place by one rename, counted and sealed at the end."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from flanrec.artefact import MANIFEST, sha256_of, verify_manifest, write_manifest, write_text_atomically
from flanrec.distributed.worker import BatchJob, input_of, output_of, put
from flanrec.errors import CheckpointError, SettingsError

_PLAN = "plan.json"
_LAID_OUT = re.compile(r"\.?part-\d{6}\.parquet")


def planned(job: BatchJob, asked: pl.DataFrame, part_size: int, resume: bool) -> list[int]:
    """The number of users of each part, after laying out the inputs once.

    Raises
    ------
    SettingsError
        The folder is finished, has other files or parts of another job, or has parts of this one without ``resume``.
    """
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
    there = [path for path in folder.iterdir() if path != inputs] if folder.is_dir() else []
    there += [path for path in inputs.iterdir() if not _LAID_OUT.match(path.name)] if inputs.is_dir() else []
    if there:
        raise SettingsError(f"{folder} has other files, such as {there[0].name}; give an empty or a new folder")
    shutil.rmtree(inputs, ignore_errors=True)  # of a run that was killed while it laid them out
    inputs.mkdir(parents=True)
    users = asked["user_id"].unique(maintain_order=True)
    numbered = pl.DataFrame({"user_id": users}).with_columns(
        (pl.int_range(pl.len()) // part_size).cast(pl.Int64).alias("part")
    )
    parted = asked.join(numbered, on="user_id", how="left", maintain_order="left")
    sizes = numbered.group_by("part").len().sort("part")["len"].to_list()
    for part, rows in enumerate(parted.partition_by("part", maintain_order=True)):
        put(rows.drop("part"), input_of(folder, part))
    write_text_atomically(plan, json.dumps({"job": described, "sizes": sizes}, indent=1))
    return sizes


def sealed(job: BatchJob, sizes: Sequence[int]) -> dict[str, Any]:
    """Count what was written, drop the inputs, and seal the folder.

    Returns
    -------
    dict
        ``users``, ``rows`` and ``parts``.

    Raises
    ------
    CheckpointError
        A part is missing, or has other users than planned.
    """
    folder = Path(job.folder)
    rows = 0
    for part, size in enumerate(sizes):
        path = output_of(folder, part)
        if not path.is_file():
            raise CheckpointError(f"{path} is missing; the same command with --resume writes it")
        written = pl.read_parquet(path)
        # Inputs are dropped below once all is compared; a run that is killed in between finds some of them gone.
        if input_of(folder, part).is_file():
            planned = pl.read_parquet(input_of(folder, part), columns=["user_id"])
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
    return pl.concat(pl.read_parquet(path) for path in sorted(folder.glob("part-*.parquet")))
