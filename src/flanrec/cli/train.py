"""``flanrec train``: from tables to a saved recommender."""

from __future__ import annotations

import importlib.util
import logging
import shutil
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
import typer

from flanrec.artefact import MANIFEST
from flanrec.cli.common import print_frame, print_json, progress_callbacks
from flanrec.cli.config import ConfigOption
from flanrec.cli.options import DeviceOption, JsonOption, ReviewsOption, Rows, Source, Start, grouped
from flanrec.errors import SettingsError

if TYPE_CHECKING:
    from flanrec.recommender import Recommender
    from flanrec.tuning import Callback

logger = logging.getLogger(__name__)


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
    method: Annotated[Method | None, typer.Option(help="Tune the whole T5, or low-rank adapters.")] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints and curves; by default OUT with .run behind it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoints of an interrupted run.")] = False,
    keep_checkpoints: Annotated[
        bool, typer.Option("--keep-checkpoints", help="Keep the checkpoints after success.")
    ] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard curves too.")] = False,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tune a recommender on interactions and items, and save it."""
    folder = runs if runs is not None else out.with_name(f"{out.name}.run")
    _refuse_early(out, folder, resume, tensorboard)
    settings = start.settings(config, words={"method": None if method is None else method.value})
    dataset = source.load(rows, reviews)
    from flanrec.recommender import Recommender

    try:
        recommender = Recommender.from_pretrained(start.backbone, settings, revision=start.revision, device=device)
        recommender.fit(dataset, folder=folder, resume=resume, callbacks=_callbacks(folder, tensorboard))
        recommender.save_pretrained(out)
    except KeyboardInterrupt:
        if _has_checkpoints(folder):
            typer.echo(f"interrupted; {folder} has checkpoints: the same command with --resume goes on", err=True)
        else:
            typer.echo("interrupted before the first checkpoint; nothing was saved", err=True)
        raise
    if not keep_checkpoints:
        for finished in (*folder.glob("*/checkpoints"), *folder.glob("*-done")):
            shutil.rmtree(finished, ignore_errors=True)
    _report(recommender, out, folder, as_json)


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


def _callbacks(folder: Path, tensorboard: bool) -> Callable[[str], Sequence[Callback]]:
    from flanrec.tuning import JsonLines, TensorBoard

    def told(stage: str) -> Sequence[Callback]:
        name = stage.replace(",", "").replace(" ", "-")
        watching: list[Callback] = [*progress_callbacks(stage), JsonLines(folder / f"{name}.jsonl")]
        return [*watching, TensorBoard(folder / "tensorboard" / name)] if tensorboard else watching

    return told


def _report(recommender: Recommender, out: Path, folder: Path, as_json: bool) -> None:
    stages: dict[str, dict[str, Any]] = {
        name: {
            "steps": report.steps,
            "seconds": round(report.seconds, 1),
            "last_loss": report.losses[-1] if report.losses else None,
            "best_step": report.best_step,
            "validation_ndcg@10": report.best_value,
            "stopped": report.stopped,
        }
        for name, report in recommender.reports.items()
        if report.steps
    }
    tuned, verdicts = recommender.reports["item tokens"], recommender.parts.fusion.verdicts
    if as_json:
        print_json(
            {
                "model": str(out),
                "curves": str(folder),
                "backbone": recommender.backbone.source.name,
                "validation_ndcg@10": tuned.best_value,
                "seconds": round(sum(report.seconds for report in recommender.reports.values()), 1),
                "stages": stages,
                "fusion": [verdict.to_dict() for verdict in verdicts],
                "settings": recommender.settings.model_dump(mode="json"),
            }
        )
        return
    rows = [{"stage": name, **stage, "seconds": round(stage["seconds"])} for name, stage in stages.items()]
    print_frame(pl.DataFrame(rows, infer_schema_length=None), "tuning")
    if tuned.best_value is not None:
        typer.echo(f"best NDCG@10 on the validation events: {tuned.best_value:.4f}")
    for verdict in verdicts:
        typer.echo(f"fused ranking: {verdict.to_text()}")
    typer.echo(f"saved in {out}")
