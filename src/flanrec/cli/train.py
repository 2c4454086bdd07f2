"""``flanrec train``: from tables to a saved recommender."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from flanrec.artefact import MANIFEST
from flanrec.cli.common import print_frame, print_json
from flanrec.cli.config import ConfigOption
from flanrec.cli.options import DeviceOption, JsonOption, ReviewsOption, Rows, Source, Start, grouped, table_option
from flanrec.data.addresses import TableAddress
from flanrec.data.examples import load_examples
from flanrec.errors import SettingsError


class Method(StrEnum):
    """Which weights of the T5 to tune."""

    full = "full"
    lora = "lora"


@grouped
def train(
    out: Annotated[Path, typer.Option("--out", help="Folder to save the recommender into.")],
    source: Source,
    rows: Rows,
    start: Start,
    reviews: ReviewsOption = None,
    examples: Annotated[
        TableAddress | None, table_option("--examples", "Instructions of your own to learn beside: prompt, target.")
    ] = None,
    method: Annotated[Method | None, typer.Option(help="Tune the whole T5, or low-rank adapters.")] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints and curves; by default OUT with .run behind it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoints of an interrupted run.")] = False,
    keep_checkpoints: Annotated[
        bool, typer.Option("--keep-checkpoints", help="Keep the checkpoints after success.")
    ] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard curves too.")] = False,
    workers: Annotated[int, typer.Option("--workers", min=1, help="More than one run under Ray Train.")] = 1,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Of each worker under Ray.")] = 1,
    address: Annotated[str | None, typer.Option("--address", help="Of a running Ray cluster.")] = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tune a recommender on interactions and items, and save it."""
    folder = runs if runs is not None else out.with_name(f"{out.name}.run")
    # Of the processes of a launcher the first one looks, tells and tidies up.
    first = os.environ.get("RANK", "0") == "0"
    if first:
        _refuse_early(out, folder, resume, tensorboard)
    else:
        logging.getLogger("flanrec").setLevel(logging.WARNING)
    settings = start.settings(config, words={"method": None if method is None else method.value})
    dataset = source.load(rows, reviews)
    from flanrec.distributed import TrainJob, train_by_ray
    from flanrec.distributed import train as train_here
    from flanrec.tuning import parted

    # Workers elsewhere have another working directory.
    local = start.backbone is not None and Path(start.backbone).is_dir()
    backbone = str(Path(str(start.backbone)).resolve()) if local else start.backbone
    job = TrainJob(
        dataset, settings, str(out.resolve()), str(folder.resolve()), backbone, start.revision, resume, tensorboard,
        device, None if examples is None else partial(load_examples, examples, rows.policy),
    )  # fmt: skip
    try:
        if workers > 1 or address is not None:
            told = train_by_ray(job, workers, threads=threads, address=address)
        else:
            told = train_here(job)
    except KeyboardInterrupt:
        if first and _has_checkpoints(folder):
            typer.echo(f"interrupted; {folder} has checkpoints: the same command with --resume goes on", err=True)
        elif first:
            typer.echo("interrupted before the first checkpoint; nothing was saved", err=True)
        raise
    parted()
    if not first:
        return
    if not keep_checkpoints:
        for finished in (*folder.glob("*/checkpoints"), *folder.glob("*-done"), folder / "ray"):
            shutil.rmtree(finished, ignore_errors=True)
        (folder / "examples.npz").unlink(missing_ok=True)
    _report(told, out, folder, as_json)


def _refuse_early(out: Path, folder: Path, resume: bool, tensorboard: bool) -> None:
    """Refuse before the tuning what would fail after it."""
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is a file; give a folder with --out")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise SettingsError(f"{out} has files that flanrec did not save; give an empty or a new folder with --out")
    if folder.resolve().is_relative_to(out.resolve()):
        raise SettingsError(f"{folder} is inside {out}, which is replaced as a whole; give another folder with --runs")
    if not resume and _has_checkpoints(folder):
        raise SettingsError(
            f"{folder} holds checkpoints of an earlier run; add --resume to go on with it, or remove the folder"
        )
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise SettingsError("TensorBoard is not installed: pip install 'flanrec[tune]', or leave out --tensorboard")


def _has_checkpoints(folder: Path) -> bool:
    return any(path.is_dir() for path in (*folder.glob("*/checkpoints/*"), *folder.glob("*-done")))


def _report(told: dict[str, Any], out: Path, folder: Path, as_json: bool) -> None:
    if as_json:
        shown = {name: value for name, value in told.items() if name != "verdicts"}
        print_json({"model": str(out), "curves": str(folder)} | shown)
        return
    rows = [{"stage": name, **stage, "seconds": round(stage["seconds"])} for name, stage in told["stages"].items()]
    print_frame(pl.DataFrame(rows, infer_schema_length=None), "tuning")
    if told["validation_ndcg@10"] is not None:
        typer.echo(f"best NDCG@10 on the validation events: {told['validation_ndcg@10']:.4f}")
    for verdict in told["verdicts"]:
        typer.echo(f"fused ranking: {verdict}")
    typer.echo(f"saved in {out}")
