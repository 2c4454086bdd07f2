"""``flanrec search``: which settings suit a log, within a time budget."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
import typer

from flanrec.artefact import write_text_atomically
from flanrec.cli.common import json_text, print_frame, progress_callbacks
from flanrec.cli.config import ConfigOption
from flanrec.cli.options import DeviceOption, JsonOption, ReadingName, ReviewsOption, Rows, Source, Start, grouped
from flanrec.cli.settings_file import settings_toml
from flanrec.errors import SettingsError

if TYPE_CHECKING:
    from flanrec.evaluation.search_results import SettingsFound

logger = logging.getLogger(__name__)

BEST, TRIALS, PER_USER, RECORD = "best.toml", "trials.csv", "per_user.csv", "search.json"
"""What lies in the folder beside the study: settings for train, a row a trial, a row a user, and what --json prints."""
CURVES, CURVE_PLOT, IMPORTANCE_PLOT = "curves.csv", "curves.svg", "importance.svg"
"""And a row a measurement on the way, drawn too, and which settings matter."""
CAUTION = (
    "The best of several trials looks better on the events it was chosen by than it is, and so does its interval. "
    "Measure it with flanrec evaluate on test events that the search has not seen."
)
_ENDS = {
    "minutes": "the next trial would overrun the minutes",
    "trials": "all trials are done",
    "space": "the space has nothing new",
}


@grouped
def search(
    out: Annotated[Path, typer.Option("--out", help="Folder for the trials and the best settings.")],
    minutes: Annotated[float, typer.Option("--minutes", help="Time for all trials together.")],
    source: Source,
    rows: Rows,
    start: Start,
    reviews: ReviewsOption = None,
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="Most trials.")] = None,
    space: Annotated[
        Path | None, typer.Option("--space", help="TOML file of what may be chosen; by default a few by preset.")
    ] = None,
    reading: Annotated[
        ReadingName, typer.Option("--reading", help="What is measured: all sources, or the language model's own lists.")
    ] = ReadingName.fused,
    prune: Annotated[
        bool, typer.Option("--prune/--no-prune", help="Give up trials that are worse than most at the same point.")
    ] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the trials in the folder.")] = False,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose settings: fit with several, and measure each on events that its fit has not seen."""
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is a file; give a folder with --out")
    _prepare_optuna()
    settings = start.settings(config)
    options = {"backbone": start.backbone, "revision": start.revision}
    settings_toml(start.preset.value, settings, options)  # refuses here what could not be written after the trials
    from flanrec.evaluation.search_space import default_space, read_space, refuse_unread

    chosen = default_space(start.preset.value, reading.value) if space is None else read_space(space, settings)
    refuse_unread(chosen, reading.value)
    dataset = source.load(rows, reviews)
    from flanrec.backbone import load_backbone
    from flanrec.evaluation.search import search as search_settings

    latest: list[SettingsFound] = []

    def write(found: SettingsFound) -> None:
        latest[:] = [found]
        best = settings_toml(start.preset.value, found.settings, options, chosen)
        write_text_atomically(out / BEST, _heading(found) + best)
        write_text_atomically(out / TRIALS, found.table().write_csv())
        write_text_atomically(out / PER_USER, found.per_user().write_csv())
        write_text_atomically(out / CURVES, found.curves().write_csv())
        write_text_atomically(out / RECORD, json_text(_record(found, start.preset.value)) + "\n")

    try:
        found = search_settings(
            load_backbone(start.backbone, revision=start.revision, device=device),
            dataset,
            out,
            minutes=minutes,
            preset=start.preset.value,
            settings=settings,
            space=chosen,
            reading=reading.value,
            prune=prune,
            trials=trials,
            resume=resume,
            callbacks=lambda number: lambda stage: progress_callbacks(f"trial {number}, {stage}"),
            on_trial=write,
        )
    except KeyboardInterrupt:
        for found in latest:
            _draw(found, out)
        kept = f"the best settings so far are in {out / BEST}" if (out / BEST).is_file() else "no trial was finished"
        typer.echo(f"interrupted; {kept}; the same command with --resume goes on", err=True)
        raise
    write(found)
    _draw(found, out)
    if as_json:
        typer.echo(json_text(_record(found, start.preset.value)))
    else:
        _report(found, start.preset.value, out)


def _prepare_optuna() -> None:
    """Refuse before any work where Optuna is missing, and let it only warn: the search says what becomes of a trial."""
    from flanrec.tuning.search import require_optuna

    require_optuna()
    from optuna import logging

    logging.set_verbosity(logging.WARNING)


def _draw(found: SettingsFound, out: Path) -> None:
    """Draw what there is to draw, where matplotlib is installed."""
    if importlib.util.find_spec("matplotlib") is None:
        logger.info("no plots are drawn without matplotlib: pip install 'flanrec[report]'")
        return
    from flanrec.evaluation.search_plots import curve_plot, importance_plot

    if found.importances:
        write_text_atomically(out / IMPORTANCE_PLOT, importance_plot(found))
    if found.curves().height:
        write_text_atomically(out / CURVE_PLOT, curve_plot(found))


def _heading(found: SettingsFound) -> str:
    return f"# Trial {found.best.number} of flanrec search; use it with flanrec train --config.\n\n"


def _record(found: SettingsFound, preset: str) -> dict[str, Any]:
    gain = found.gain(found.start.seed)
    return {
        "metric": f"ndcg@10 of the reading {found.reading}, the last known event of each user",
        "reading": found.reading,
        "users": gain.count,
        "preset": preset,
        "start": found.trials[0].value,
        "best": {"trial": found.best.number, "ndcg@10": found.best.value, "settings": dict(found.best.values)},
        "gain": {"value": gain.value, "low": gain.low, "high": gain.high, "level": gain.level, "p_value": gain.p_value},
        "stopped": found.stopped or "running",
        "importances": found.importances,
        "trials": [
            {
                "trial": trial.number,
                "ndcg@10": trial.value,
                "seconds": round(trial.seconds, 1),
                "settings": dict(trial.values),
                "problem": trial.problem,
                "given_up": trial.pruned,
                "curve": [
                    {"stage": point.stage, "share": point.share, "ndcg@10": point.value} for point in trial.curve
                ],
            }
            for trial in found.trials
        ],
        "caution": CAUTION,
    }


def _report(found: SettingsFound, preset: str, out: Path) -> None:
    from flanrec.tuning.importance import ENOUGH

    gain = found.gain(found.start.seed)
    table = found.table()
    print_frame(table if any(not trial.per_user for trial in found.trials) else table.drop("problem"), "trials")
    typer.echo(f"stopped: {_ENDS[found.stopped]}")
    if found.importances:
        rows = [{"setting": name, "importance": share} for name, share in found.importances.items()]
        print_frame(pl.DataFrame(rows), "what matters")
    else:
        typer.echo(f"what matters is said from {ENOUGH} measured trials on")
    if found.best.number == 0:
        typer.echo(f"nothing is better than where it began, the preset {preset} (trial 0)")
    else:
        typer.echo(
            f"best: trial {found.best.number}, NDCG@10 {found.best.value:.4f}; minus trial 0, the preset {preset}: "
            f"{gain.value:+.4f} ({gain.level:.0%}: {gain.low:+.4f} to {gain.high:+.4f}, {gain.count} users)"
        )
    typer.echo(CAUTION)
    typer.echo(f"next: flanrec train --config {out / BEST}, with the same data")
