"""``flanrec batch``: lists for many users, by many workers, in parts that survive a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from flanrec.cli.common import counting, ids_like, print_json, read_lines
from flanrec.cli.options import HistoriesOption, ReadingName, Rows, Saved, grouped
from flanrec.errors import SettingsError


@grouped
def batch(
    saved: Saved,
    rows: Rows,
    out: Annotated[Path, typer.Option("--out", help="Folder for the parts, as Parquet.")],
    users_file: Annotated[
        Path | None, typer.Option("--users-file", help="Parquet or text file with the ids of users to answer.")
    ] = None,
    histories: HistoriesOption = None,
    k: Annotated[int, typer.Option("--k", min=1, help="Items a user.")] = 10,
    reading: Annotated[ReadingName, typer.Option(help="How to read the tuned model.")] = ReadingName.fused,
    part_size: Annotated[int, typer.Option("--part-size", min=1, help="Users of a part.")] = 2000,
    workers: Annotated[int, typer.Option("--workers", min=1, help="More than one run under Ray.")] = 1,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Of each worker.")] = 1,
    address: Annotated[str | None, typer.Option("--address", help="Of a running Ray cluster.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the parts that are missing.")] = False,
) -> None:
    """Recommend items to many users: Parquet in, Parquet out."""
    if (users_file is None) == (histories is None):
        raise SettingsError("say for whom: --users-file or --histories, and only one of them")
    from flanrec.data.dataset import load_interactions
    from flanrec.distributed import BatchJob, run_batch
    from flanrec.recommender.saving import is_saved

    if not is_saved(saved.model):
        raise SettingsError(f"{saved.model} is no saved recommender; give the folder that flanrec train wrote")
    if histories is not None:
        known = pl.read_parquet(saved.model / "items.parquet", columns=["item_id"])["item_id"]
        asked = load_interactions(histories, known, rows.policy, rows.rejects)
    else:
        assert users_file is not None
        asked = _users(users_file, pl.read_parquet_schema(saved.model / "interactions.parquet")["user_id"])
    # Workers elsewhere have another working directory.
    engine = str(Path(saved.engine).resolve()) if Path(saved.engine).is_dir() else saved.engine
    job = BatchJob(str(saved.model.resolve()), str(out.resolve()), k, reading.value, saved.device, engine, threads)
    with counting("recommending", asked["user_id"].n_unique()) as advance:
        found = run_batch(
            job, asked, part_size=part_size, workers=workers, address=address, resume=resume, progress=advance
        )
    if saved.as_json:
        print_json({"out": str(out)} | found)
    else:
        typer.echo(f"{found['rows']:,} rows for {found['users']:,} users in {found['parts']} parts of {out}")


def _users(path: Path, dtype: pl.DataType) -> pl.DataFrame:
    """User ids of a Parquet file's column user_id, or of a text file with one a line, each once."""
    if path.suffix == ".parquet":
        table = pl.read_parquet(path)
        if "user_id" not in table.columns:
            raise SettingsError(f"{path} has no column user_id; its columns are {', '.join(table.columns)}")
        return table.select("user_id").unique(maintain_order=True)
    ids = ids_like(dtype, list(dict.fromkeys(read_lines(path))))
    if dtype.is_integer() and not all(isinstance(one, int) for one in ids):
        return pl.DataFrame({"user_id": [str(one) for one in ids]})
    return pl.DataFrame({"user_id": pl.Series(ids, dtype=dtype)})
