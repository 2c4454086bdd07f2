"""``flanrec find-rate``: which learning rates suit a log, by the range test."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
import typer

from flanrec.artefact import write_text_atomically
from flanrec.cli.common import check_out, counting, print_frame, print_json, write_out
from flanrec.cli.config import ConfigOption
from flanrec.cli.options import (
    DeviceOption,
    JsonOption,
    OutOption,
    ReviewsOption,
    Rows,
    Source,
    Start,
    grouped,
    table_option,
)
from flanrec.cli.train import Method
from flanrec.data.addresses import TableAddress
from flanrec.data.examples import load_examples
from flanrec.errors import SettingsError

if TYPE_CHECKING:
    from flanrec.recommender.rates import Stage
    from flanrec.tuning.rate_finder import RateCurve

_SHOWN = 20
_ENDS = {
    "steps": "the highest rate was reached",
    "diverged": "the loss was four times its best",
    "not finite": "the loss was no longer finite",
    "interrupted": "interrupted",
}


class StageName(StrEnum):
    """What is tuned."""

    words = "words"
    item_tokens = "item_tokens"


@grouped
def find_rate(
    source: Source,
    rows: Rows,
    start: Start,
    reviews: ReviewsOption = None,
    examples: Annotated[
        TableAddress | None, table_option("--examples", "Instructions of your own to learn beside: prompt, target.")
    ] = None,
    method: Annotated[Method | None, typer.Option(help="Which weights of the T5 to tune; full is all blocks.")] = None,
    stage: Annotated[StageName, typer.Option(help="Rates of the T5, or of the item tokens.")] = StageName.words,
    low: Annotated[float, typer.Option("--low", help="The lowest rate.")] = 1e-6,
    high: Annotated[float, typer.Option("--high", help="The highest rate.")] = 1.0,
    steps: Annotated[int, typer.Option("--steps", help="Updates from the lowest to the highest.")] = 100,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the curve into this .svg file.")] = None,
    out: OutOption = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Raise the learning rate from update to update, and say where the loss falls and where it explodes."""
    check_out(out)
    _check_plot(plot)
    settings = start.settings(config, words={"method": None if method is None else method.value})
    dataset = source.load(rows, reviews)
    own = None if examples is None else load_examples(examples, rows.policy)
    from flanrec.backbone import load_backbone
    from flanrec.recommender.rates import rate_curve

    backbone = load_backbone(start.backbone, revision=start.revision, device=device)
    with counting("batches", 2 * steps) as done:
        curve = rate_curve(
            backbone, dataset, settings, stage=stage.value, low=low, high=high, steps=steps, examples=own, progress=done
        )
    table = pl.DataFrame(
        {"rate": curve.rates, "smoothed": curve.smoothed, "loss": curve.losses, "objective": curve.objectives}
    )
    if out is not None:
        write_out(table, out)
    if plot is not None:
        _draw(curve, stage.value, plot)
    if as_json:
        print_json(_record(curve, stage.value))
    else:
        _report(curve, stage.value, table)
    if curve.stopped == "interrupted":
        raise KeyboardInterrupt


def _check_plot(plot: Path | None) -> None:
    """Refuse a plot that could not be drawn, before any work is done."""
    if plot is None:
        return
    if plot.suffix != ".svg":
        raise SettingsError(f"{plot}: plots are drawn as SVG; give a name that ends with .svg")
    from flanrec.evaluation.page import check_report_extra

    check_report_extra()


def _draw(curve: RateCurve, stage: Stage, path: Path) -> None:
    from flanrec.evaluation.rate_plot import rate_plot
    from flanrec.recommender.rates import SETTINGS

    write_text_atomically(path, rate_plot(curve, next(iter(SETTINGS[stage].values()))))


def _record(curve: RateCurve, stage: Stage) -> dict[str, Any]:
    from flanrec.recommender.rates import settings_at

    return {
        "stage": stage,
        "steepest": curve.steepest,
        "tenth_of_lowest": curve.tenth,
        "settings": {
            name: settings_at(curve, rate, stage)
            for name, rate in (("steepest", curve.steepest), ("tenth_of_lowest", curve.tenth))
            if rate is not None
        },
        "untrained": curve.untrained,
        "lowest": None if curve.lowest is None else curve.smoothed[curve.lowest],
        "stopped": curve.stopped,
        "curve": [
            {"rate": rate, "smoothed": smoothed, "loss": loss, "objective": objective}
            for rate, smoothed, loss, objective in zip(
                curve.rates, curve.smoothed, curve.losses, curve.objectives, strict=True
            )
        ],
    }


def _report(curve: RateCurve, stage: Stage, table: pl.DataFrame) -> None:
    from flanrec.recommender.rates import settings_at

    every = max(1, -(-table.height // _SHOWN))
    shown = table.gather_every(every)
    shown = shown.with_columns(pl.Series("rate", [f"{rate:.1e}" for rate in shown["rate"]]))
    print_frame(shown, f"{stage}: the loss at the start is {curve.untrained:.4f}")
    typer.echo(f"stopped: {_ENDS[curve.stopped]}")
    if curve.steepest is None or curve.tenth is None:
        typer.echo("the loss did not fall at any of these rates; try lower ones, or more steps")
        return
    for words, rate in (("the loss falls fastest", curve.steepest), ("a tenth of the rate at its lowest", curve.tenth)):
        told = ", ".join(f"{name} = {value:.2g}" for name, value in settings_at(curve, rate, stage).items())
        typer.echo(f"{words}: {told}")
