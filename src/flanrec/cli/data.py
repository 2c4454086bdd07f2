"""``flanrec data``: fetch, describe, validate, convert and split data sets."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from flanrec.cli.common import print_json
from flanrec.cli.options import JsonOption, RejectsOption, ReviewsOption, Rows, Source, grouped
from flanrec.data import (
    Dataset,
    assert_no_leak,
    cold_items,
    fetch,
    few_users,
    leave_one_out,
    new_users,
    temporal,
)
from flanrec.data.problems import BadRowsError, bad_rows, counts, summary
from flanrec.data.writers import write_table
from flanrec.errors import SettingsError

app = typer.Typer(name="data", help="Fetch, describe, validate, convert and split data.", no_args_is_help=True)

out = Console()


class Format(StrEnum):
    """Formats that tables are written in."""

    csv = "csv"
    tsv = "tsv"
    parquet = "parquet"
    jsonl = "jsonl"


class Rule(StrEnum):
    """How to split."""

    leave_one_out = "leave-one-out"
    temporal = "temporal"
    cold_items = "cold-items"
    new_users = "new-users"
    few_users = "few-users"


def print_pairs(title: str, values: dict[str, Any]) -> None:
    """A table of names and values on stdout."""
    table = Table(title=title, show_header=False)
    for name, value in values.items():
        shown = f"{value:.4g}" if isinstance(value, float) else "none" if value is None else str(value)
        if isinstance(value, dict):
            shown = ", ".join(
                f"{key} {part:.4g}" if isinstance(part, float) else f"{key} {part}" for key, part in value.items()
            )
        table.add_row(name.replace("_", " "), shown)
    out.print(table)


@app.command("fetch")
def fetch_command(
    name: Annotated[str, typer.Argument(help="A public data set.")] = "ml-100k",
    to: Annotated[Path | None, typer.Option(help="Also write CSV files into this folder.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a public data set into the cache, checked by SHA-256."""
    folder = fetch(name, to)
    files = sorted(str(path) for path in folder.iterdir() if path.suffix in {".csv", ".parquet"})
    if as_json:
        print_json({"name": name, "folder": str(folder), "files": files})
    else:
        typer.echo("\n".join(files))


@app.command()
@grouped
def describe(
    source: Source,
    rows: Rows,
    reviews: ReviewsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count users, items and interactions, and say how much text there is."""
    dataset = source.load(rows, reviews)
    facts = dataset.describe() | {"fingerprint": dataset.fingerprint()}
    if as_json:
        print_json(facts)
    else:
        print_pairs(dataset.name, facts)


@app.command()
@grouped
def validate(
    source: Source,
    reviews: ReviewsOption = None,
    rejects: RejectsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check every row and report all that is wrong; exit code 2 if anything is."""
    problems: pl.DataFrame | None = None
    try:
        dataset: Dataset | None = source.load(Rows(rejects=rejects), reviews)
    except BadRowsError as error:
        dataset, problems = None, error.problems
    if as_json:
        found = {} if problems is None else counts(problems)
        report: dict[str, Any] = {"valid": problems is None, "bad_rows": 0, "problems": found}
        if problems is not None:
            report |= {"bad_rows": bad_rows(problems), "rows": problems.to_dicts()}
        print_json(report)
    elif problems is not None:
        typer.echo(summary(problems, rejects))
    elif dataset is not None:
        counted = f"{dataset.interactions.height} interactions, {dataset.items.height} items"
        typer.echo(f"{dataset.name}: every row is usable ({counted})")
    if problems is not None:
        raise typer.Exit(2)


@app.command()
@grouped
def convert(
    to: Annotated[Path, typer.Option(help="Folder for the tables.")],
    source: Source,
    rows: Rows,
    reviews: ReviewsOption = None,
    form: Annotated[Format, typer.Option("--format", help="Format of the tables.")] = Format.parquet,
    as_json: JsonOption = False,
) -> None:
    """Write the validated tables with flanrec's column names in another format."""
    dataset = source.load(rows, reviews)
    tables = {
        "interactions": dataset.interactions.drop("row"),
        "items": dataset.items,
        "users": dataset.users,
        "reviews": dataset.reviews,
    }
    files = {
        name: str(write_table(frame, to / f"{name}.{form}")) for name, frame in tables.items() if frame is not None
    }
    if as_json:
        print_json({"folder": str(to), "files": files})
    else:
        typer.echo("\n".join(files.values()))


@app.command()
@grouped
def split(
    to: Annotated[Path, typer.Option(help="Folder for the parts.")],
    source: Source,
    rows: Rows,
    rule: Annotated[Rule, typer.Option(help="How to split.")] = Rule.leave_one_out,
    share: Annotated[float | None, typer.Option(help="Share for test; for few-users, for training.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw of items or users.")] = 42,
    form: Annotated[Format, typer.Option("--format", help="Format of the parts.")] = Format.csv,
    as_json: JsonOption = False,
) -> None:
    """Split interactions into train, validation and test, and check that nothing leaks."""
    dataset = source.load(rows)
    if rule is Rule.leave_one_out:
        if share is not None:
            raise SettingsError("--share has no meaning for leave-one-out: one event of each user is tested.")
        parts = leave_one_out(dataset)
    elif rule is Rule.temporal:
        parts = temporal(dataset, test=0.1 if share is None else share)
    elif rule is Rule.cold_items:
        parts = cold_items(dataset, share=0.15 if share is None else share, seed=seed)
    elif rule is Rule.new_users:
        parts = new_users(dataset, share=0.1 if share is None else share, seed=seed)
    else:
        parts = few_users(dataset, share=0.1 if share is None else share, seed=seed)
    assert_no_leak(parts)
    report: dict[str, Any] = {"rule": parts.name, "folder": str(to)}
    for name, part in parts.parts().items():
        path = write_table(part.interactions.drop("row"), to / f"{name}.{form}")
        report[name] = {
            "interactions": part.interactions.height,
            "users": part.interactions["user_id"].n_unique(),
            "items": part.interactions["item_id"].n_unique(),
            "file": str(path),
        }
    write_table(dataset.items, to / f"items.{form}")
    if dataset.users is not None:
        write_table(dataset.users, to / f"users.{form}")
    if as_json:
        print_json(report)
    else:
        print_pairs(f"{dataset.name}, {parts.name}", report)
