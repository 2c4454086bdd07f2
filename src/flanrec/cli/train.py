"""``flanrec train``: from tables to a saved recommender."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
import typer

from flanrec.cli.common import print_frame, print_json
from flanrec.cli.config import ConfigOption
from flanrec.cli.options import DeviceOption, JsonOption, ReviewsOption, Rows, Source, Start, grouped, table_option
from flanrec.cli.run_folders import run_folder, run_in
from flanrec.data.addresses import TableAddress
from flanrec.data.dataset import load_interactions
from flanrec.data.examples import load_examples
from flanrec.data.labels import with_labels
from flanrec.data.splits import hold_out_last
from flanrec.errors import SettingsError

if TYPE_CHECKING:
    from flanrec.tuning.tracking import Library


class Method(StrEnum):
    """Which weights of the T5 to tune."""

    full = "full"
    lora = "lora"
    dora = "dora"
    rslora = "rslora"
    adalora = "adalora"
    ia3 = "ia3"
    prompt_tuning = "prompt-tuning"
    p_tuning = "p-tuning"
    prefix_tuning = "prefix-tuning"
    adapter = "adapter"


class Tracker(StrEnum):
    """Which library is told of the run."""

    none = "none"
    tensorboard = "tensorboard"
    wandb = "wandb"
    mlflow = "mlflow"
    trackio = "trackio"


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
    labels: Annotated[
        TableAddress | None,
        table_option("--labels", "Ratings for events that have none, as flanrec label writes them."),
    ] = None,
    method: Annotated[Method | None, typer.Option(help="Which weights of the T5 to tune; full is all blocks.")] = None,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", min=1, help="Most updates of the T5, and of the item tokens.")
    ] = None,
    start_from: Annotated[
        Path | None,
        typer.Option("--from", help="Saved recommender of another log, with whose tuned T5 to begin."),
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints and curves; by default OUT with .run behind it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoints of an interrupted run.")] = False,
    keep_checkpoints: Annotated[
        bool, typer.Option("--keep-checkpoints", help="Keep the checkpoints after success.")
    ] = False,
    track: Annotated[
        list[Tracker] | None,
        typer.Option("--track", help="Keep curves, settings and samples in this library too. Repeatable."),
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="The same as --track tensorboard.")] = False,
    project: Annotated[str, typer.Option("--project", help="What tracking libraries call the project.")] = "flanrec",
    run_name: Annotated[
        str | None, typer.Option("--run-name", help="What they call the run; by default the name of OUT.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="More than one run under Ray Train.")] = 1,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Of each worker under Ray.")] = 1,
    address: Annotated[str | None, typer.Option("--address", help="Of a running Ray cluster.")] = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tune a recommender on interactions and items, and save it."""
    folder = run_folder(out, runs)
    libraries = _libraries(track or [], tensorboard)
    with run_in(folder, out, resume=resume, keep_checkpoints=keep_checkpoints) as first:
        if first:
            _require(libraries)
        settings = start.settings(
            config, words={"method": None if method is None else method.value}, max_steps=max_steps
        )
        if method is not None and settings.words.steps == 0:
            raise SettingsError(f"--method {method.value} tunes the T5, and words.steps is 0; choose --preset balanced")
        if start_from is not None and (start.backbone is not None or start.revision is not None):
            raise SettingsError("--from brings its own T5; leave out --backbone and --revision")
        dataset = source.load(rows, reviews)
        if labels is not None:
            known = dataset.items["item_id"]
            # The last events tell how good the fit is: what a model said of them would be no truth to tell it by.
            apart = hold_out_last(dataset)[1].interactions["row"]
            dataset = with_labels(dataset, load_interactions(labels, known, rows.policy), without=apart)
        from flanrec.distributed import TrainJob, train_by_ray
        from flanrec.distributed import train as train_here
        from flanrec.tuning import Tracking, parted

        # Workers elsewhere have another working directory.
        local = start.backbone is not None and Path(start.backbone).is_dir()
        backbone = str(Path(str(start.backbone)).resolve()) if local else start.backbone
        job = TrainJob(
            dataset, settings, str(out.resolve()), str(folder.resolve()), backbone, start.revision, resume,
            Tracking(libraries, project, run_name or out.resolve().name), device,
            None if examples is None else partial(load_examples, examples, rows.policy),
            None if start_from is None else str(start_from.resolve()),
        )  # fmt: skip
        if workers > 1 or address is not None:
            told = train_by_ray(job, workers, threads=threads, address=address)
        else:
            told = train_here(job)
        parted()
    if first:
        _report(told, out, folder, as_json)


def _libraries(track: list[Tracker], tensorboard: bool) -> tuple[Library, ...]:
    """What is tracked by, each library once."""
    asked = {one.value for one in track} | ({"tensorboard"} if tensorboard else set())
    if "none" in asked and len(asked) > 1:
        raise SettingsError(f"--track none stands beside {', '.join(sorted(asked - {'none'}))}; leave one of them out")
    return tuple(name for name in ("tensorboard", "wandb", "mlflow", "trackio") if name in asked)


def _require(libraries: tuple[Library, ...]) -> None:
    if libraries:
        from flanrec.tuning.tracking import require

        require(libraries)


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
