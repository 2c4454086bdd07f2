"""``flanrec update``: a saved recommender learns what arrived since."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import polars as pl
import typer

from flanrec.cli.common import load_model, print_frame, print_json
from flanrec.cli.config import SERVICE, ConfigOption, given_alone, layered, validated
from flanrec.cli.options import DeviceOption, JsonOption, ModelOption, Rows, grouped, table_option
from flanrec.cli.run_folders import run_in
from flanrec.cli.stores import open_store
from flanrec.data.addresses import TableAddress
from flanrec.errors import SettingsError

if TYPE_CHECKING:
    from flanrec.recommender import Recommender, UpdateReport, UpdateSettings


class Tables(NamedTuple):
    """What `Recommender.update` takes, and whether the recommender was changed before."""

    interactions: Any
    items: Any
    users: Any
    touched: bool


class PenaltyName(StrEnum):
    """What holds the weights near where they were."""

    none = "none"
    l2_sp = "l2_sp"
    ewc = "ewc"


@dataclass(frozen=True)
class Arrived:
    """The tables of what arrived, or the store that has it."""

    interactions: Annotated[
        TableAddress | None, table_option("--interactions", "New interactions: a file, or postgresql://...")
    ] = None
    items: Annotated[TableAddress | None, table_option("--items", "Items that are new.")] = None
    users: Annotated[TableAddress | None, table_option("--users", "Users that are new, with their attributes.")] = None
    store: Annotated[
        str | None, typer.Option("--store", help="In place of tables: what a service kept, its --store.")
    ] = None

    def check(self) -> None:
        """Raise SettingsError unless either interactions or a store is given, and nothing twice."""
        if (self.interactions is None) == (self.store is None):
            raise SettingsError("give either --interactions TABLE or --store ADDRESS")
        if self.store is not None and not (self.items is None and self.users is None):
            raise SettingsError("--store has items and users of its own; leave --items and --users out")

    def tables(self, recommender: Recommender, config: Path | None) -> Tables:
        """What there is to learn; of a store, the recommender takes up what needs no learning."""
        if self.store is None:
            return Tables(self.interactions, self.items, self.users, False)
        kept = open_store(self.store, new=False)
        from flanrec.serving.learning import take_up
        from flanrec.serving.settings import ServeSettings

        try:
            return Tables(*take_up(recommender, kept, layered(ServeSettings(), SERVICE, config, {}).learning))
        finally:
            kept.close()


@dataclass(frozen=True)
class Learning:
    """How it is learnt, and what the result must pass."""

    steps: Annotated[
        int | None,
        typer.Option("--steps", min=0, help="Updates of the T5; by default a tenth of those it was fitted with."),
    ] = None
    passes: Annotated[
        float | None,
        typer.Option("--passes", min=0, help="Windows for each user with new events; by default a third of the fit's."),
    ] = None
    words_rate: Annotated[
        float | None, typer.Option("--words-rate", help="Learning rate of the T5, as a share of the fit's.")
    ] = None
    tokens_rate: Annotated[
        float | None, typer.Option("--tokens-rate", help="Learning rates of the item tokens, likewise.")
    ] = None
    replay: Annotated[float | None, typer.Option("--replay", help="Share of old events among the examples.")] = None
    penalty: Annotated[
        PenaltyName | None, typer.Option("--penalty", help="What holds the weights near where they were.")
    ] = None
    strength: Annotated[float | None, typer.Option("--strength", help="Of the penalty.")] = None
    tolerance: Annotated[
        float | None, typer.Option("--tolerance", help="Share of NDCG@10 on old events that may be lost.")
    ] = None
    level: Annotated[float | None, typer.Option("--level", help="How sure a loss must be to count, such as 0.95.")] = (
        None
    )
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Decides every draw.")] = None

    def settings(self) -> UpdateSettings:
        """The settings with what the options change.

        Raises
        ------
        SettingsError
            A value cannot work.
        """
        from flanrec.recommender import UpdateSettings

        flags = {
            "words": {"steps": self.steps, "rate": self.words_rate},
            "tokens": {"passes": self.passes, "rate": self.tokens_rate},
            "penalty": {"kind": None if self.penalty is None else self.penalty.value, "strength": self.strength},
            "gate": {"tolerance": self.tolerance, "level": self.level},
            "replay": self.replay,
            "seed": self.seed,
        }
        return validated(UpdateSettings, given_alone(flags))


@grouped
def update(
    model: ModelOption,
    out: Annotated[
        Path, typer.Option("--out", help="Folder to save the updated recommender into; may be the model's.")
    ],
    arrived: Arrived,
    rows: Rows,
    learning: Learning,
    runs: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints and curves; by default OUT with .update behind it.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoints of an interrupted update.")
    ] = False,
    keep_checkpoints: Annotated[
        bool, typer.Option("--keep-checkpoints", help="Keep the checkpoints after success.")
    ] = False,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Teach a saved recommender new users, items and interactions, unless held-out events speak against it."""
    arrived.check()
    folder = runs if runs is not None else out.with_name(f"{out.name}.update")
    with run_in(folder, out, resume=resume, keep_checkpoints=keep_checkpoints) as first:
        settings = learning.settings()
        recommender = load_model(model, device)
        from flanrec.distributed.watching import facts_of, watching
        from flanrec.tuning import Tracking, parted

        with watching(
            folder, Tracking(), lambda: facts_of(recommender, recommender.parts.dataset), resume=resume
        ) as told:
            tables = arrived.tables(recommender, config)
            report = recommender.update(
                tables.interactions, tables.items, tables.users, settings=settings, folder=folder, resume=resume,
                callbacks=told, on_bad_rows=rows.policy, rejects=rows.rejects,
            )  # fmt: skip
            if report.changed or tables.touched or (report.accepted and out.resolve() != model.resolve()):
                recommender.save_pretrained(out)
        parted()
    if first:
        _tell(report, tables.touched, model, out, folder, as_json)


def _tell(report: UpdateReport, touched: bool, model: Path, out: Path, folder: Path, as_json: bool) -> None:
    written = report.accepted or touched
    if as_json:
        print_json({"model": str(out if written else model), "curves": str(folder)} | report.to_dict())
        return
    known = f", {report.repeated:,} known already" if report.repeated else ""
    typer.echo(
        f"arrived: {report.interactions:,} interactions{known}, {report.users:,} new users, {report.items:,} new items"
    )
    if report.checks:
        shown = [
            {
                "reading": check.reading, "events": f"{check.count:,} {check.events}", "NDCG@10 before": check.before,
                "after": check.after, "difference": f"{check.low:+.4f} to {check.high:+.4f}",
                "": "passed" if check.passed else "refused",
            }
            for check in report.checks
        ]  # fmt: skip
        print_frame(pl.DataFrame(shown), "events that the update does not learn")
    for choice in report.choices:
        typer.echo(choice.to_text())
    if touched:
        typer.echo(f"{out} lacks the users who were deleted from the store, and has its texts")
    if not report.accepted and touched:
        typer.echo("refused: the update would make it worse; nothing of it was learnt")
    elif not report.accepted:
        typer.echo(f"refused: the update would make it worse. {model} stays as it is, and nothing was written to {out}")
    elif touched and not report.changed:
        typer.echo("there is nothing to learn")
    elif not report.changed:
        typer.echo(f"nothing is new; the model in {out} is as it was")
    else:
        typer.echo(f"accepted: saved in {out}")
