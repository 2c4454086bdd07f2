"""``flanrec label``: pseudo-labels for pairs that the match probability is sure of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import polars as pl
import typer
from rich.console import Console

from flanrec.cli.common import check_out, counting, print_frame, print_json, user_ids, write_out
from flanrec.cli.match import read_pairs
from flanrec.cli.options import OutOption, Rows, Saved, grouped, table_option
from flanrec.data.addresses import TableAddress
from flanrec.data.columns import number_column
from flanrec.errors import SettingsError

if TYPE_CHECKING:
    from flanrec.evaluation.gating import GatePrecision
    from flanrec.recommender import Recommender


@grouped
def label(
    saved: Saved,
    rows: Rows,
    pairs: Annotated[
        TableAddress | None,
        table_option(
            "--pairs", "Table with user_id and item_id; a rating beside them tells how often labels are right."
        ),
    ] = None,
    users_file: Annotated[
        Path | None, typer.Option("--users-file", help="File with one user_id a line: label their unrated events.")
    ] = None,
    gate: Annotated[float, typer.Option(help="Least probability that a label is right; above 0.5, below 1.")] = 0.9,
    most: Annotated[int | None, typer.Option(help="Most labels, the surest first.")] = None,
    balanced: Annotated[
        bool, typer.Option("--balanced/--all", help="As many of yes as of no, or all that pass the gate.")
    ] = True,
    out: OutOption = None,
) -> None:
    """Label what the match probability is sure of, for another round of training."""
    from flanrec.recommender.pseudo_labels import check_gate, pseudo_labels, unrated_events, unrated_pairs

    if (pairs is None) == (users_file is None):
        raise SettingsError(
            "say what to label: --pairs TABLE, or --users-file FILE for the unrated events of its users"
        )
    check_gate(gate, most)
    check_out(out)
    recommender = saved.load()
    if pairs is not None:
        frame, asked = read_pairs(recommender, pairs, rows)
        if "rating" in frame.columns:
            asked = asked.with_columns(number_column(frame["rating"])[0].alias("rating"))
        open_pairs = unrated_pairs(recommender, asked)
        with counting("labelling", open_pairs.height) as advance:
            open_pairs = recommender.match(open_pairs, progress=advance)
        labels = pseudo_labels(recommender, open_pairs, gate=gate, most=most, balanced=balanced)
        precision = _precision(recommender, open_pairs, gate)
    else:
        users = user_ids(recommender, users_file, ())
        asked, precision = unrated_events(recommender, users), None
        with counting("labelling", asked.height) as advance:
            labels = pseudo_labels(recommender, users=users, gate=gate, most=most, balanced=balanced, progress=advance)
    least = recommender.settings.liked_rating
    counts = {
        "yes": labels.filter(pl.col("rating") >= least).height,
        "no": labels.filter(pl.col("rating") < least).height,
    }
    if out is not None:
        write_out(labels, out)
    if saved.as_json:
        told = {"labels": labels.to_dicts()} if out is None else {"out": str(out)}
        print_json(
            told | {"asked": asked.height, "rows": labels.height, **counts}
            | {"gates": None if precision is None else [one.to_dict() for one in precision]}
        )  # fmt: skip
        return
    if out is None:
        print_frame(labels.drop("prompt", "target"))
    typer.echo(
        f"{labels.height} of {asked.height} pairs labelled: {counts['yes']} yes, {counts['no']} no, gate {gate:g}"
    )
    if precision is not None:
        from flanrec.evaluation.gating import gate_table

        Console().print(gate_table(precision, "labels that the ratings beside the pairs confirm"))


def _precision(recommender: Recommender, asked: pl.DataFrame, gate: float) -> list[GatePrecision] | None:
    """How often this gate and others are right, by the ratings beside the pairs; None where no pair has one."""
    from flanrec.evaluation.gating import GATES, gate_precision

    rated = asked.drop_nulls("rating") if "rating" in asked.columns else asked.head(0)
    if not rated.height:
        return None
    liked = rated["rating"] >= recommender.settings.liked_rating
    return gate_precision(
        rated["user_id"].to_numpy(), liked.to_numpy(), rated["probability"].to_numpy(), sorted({*GATES, gate})
    )
