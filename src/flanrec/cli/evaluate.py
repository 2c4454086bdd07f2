"""``flanrec evaluate``: a saved recommender against held-out interactions."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
import typer
from rich.console import Console

from flanrec.cli.common import counting, print_json, waiting
from flanrec.cli.options import ReadingName, Rows, Saved, grouped, table_option
from flanrec.cli.policies import by_name, check_policies, read_policies
from flanrec.data.addresses import TableAddress
from flanrec.data.dataset import Dataset, load_interactions
from flanrec.errors import DataError, SettingsError

if TYPE_CHECKING:
    from flanrec.recommender import Recommender

logger = logging.getLogger(__name__)


@grouped
def evaluate(
    saved: Saved,
    rows: Rows,
    test: Annotated[TableAddress, table_option("--test", "Held-out interactions.")],
    k: Annotated[str, typer.Option("--k", help="Cut-offs, separated by commas.")] = "5,10",
    reading: Annotated[
        list[ReadingName] | None, typer.Option("--reading", help="How to read the tuned model. Repeatable.")
    ] = None,
    match: Annotated[
        bool | None, typer.Option("--match/--no-match", help="Evaluate the match probability; default: with ratings.")
    ] = None,
    wishes: Annotated[bool, typer.Option("--wishes", help="Measure what the words of the instruction do.")] = False,
    families: Annotated[
        bool, typer.Option("--families", help="Score each task family, with seen and with held-out templates.")
    ] = False,
    policy: Annotated[
        list[Path] | None,
        typer.Option("--policy", help="TOML file with rules; what it and each of its rules cost. Repeatable."),
    ] = None,
    users: Annotated[
        int | None, typer.Option("--users", min=1, help="Ask so many users only, drawn by --seed.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw of users and of the intervals.")] = 42,
) -> None:
    """Rank the whole catalogue for the users of a test, and compare with what they did."""
    cutoffs = parse_cutoffs(k)
    policies = read_policies(policy or [])
    recommender = saved.load()
    check_policies(policies, recommender)
    held_out = read_test(recommender, test, rows)
    from flanrec.evaluation.instructions import measure_instructions
    from flanrec.evaluation.matching import match_table
    from flanrec.evaluation.models import evaluate_model, has_ratings, match_reports
    from flanrec.evaluation.policies import price_policies

    asked = min(users or held_out.interactions["user_id"].n_unique(), held_out.interactions["user_id"].n_unique())
    reports, priced = {}, {}
    for name in dict.fromkeys(reading or [ReadingName.fused]):
        with counting(f"asking by {name.value}", asked) as advance:
            reports[name.value] = evaluate_model(
                recommender, held_out, cutoffs, name.value, users, seed, progress=advance
            )
        if policies:
            with counting(f"pricing policies by {name.value}", asked) as advance:
                priced[name.value] = price_policies(
                    recommender, held_out, by_name(policies), max(cutoffs), name.value, users, seed, progress=advance
                )
    matched = None
    if match or (match is None and has_ratings(held_out)):
        with counting("matching", held_out.interactions.height) as advance:
            matched = match_reports(recommender, held_out, users, seed, progress=advance)
    said = None
    if wishes:
        with waiting("measuring the instruction"):
            said = measure_instructions(recommender, held_out, users=users, seed=seed)
    tried = None
    if families:
        from flanrec.evaluation.families import measure_families
        from flanrec.evaluation.families.report import FAMILIES

        with counting("asking family by family", len(FAMILIES)) as advance:
            tried = measure_families(recommender, held_out, users=users, seed=seed, progress=advance)
    if saved.as_json:
        first = next(iter(reports.values())).to_dict()
        document: dict[str, Any] = {
            "model": str(saved.model),
            "test": str(test),
            "reading": next(iter(reports)),
            "metrics": first["metrics"],
            "readings": {name: report.to_dict() for name, report in reports.items()},
        }
        if priced:
            document["policies"] = {name: found.to_dict() for name, found in priced.items()}
        if matched is not None:
            document["match"] = {"model": matched[0].to_dict(), "like_rate_rule": matched[1].to_dict()}
        if said is not None:
            document["instructions"] = said.to_dict()
        if tried is not None:
            document["families"] = tried.to_dict()
        print_json(document)
        return
    console = Console()
    for report in reports.values():
        console.print(report)
    for asked_by, found in priced.items():
        console.print(found.to_table(f"the price of policies, {asked_by}"))
    if matched is not None:
        console.print(matched[0])
        console.print(match_table(matched, "match beside the like-rate rule"))
    if said is not None:
        console.print(said.to_table())
    if tried is not None:
        console.print(tried.to_table())


def parse_cutoffs(text: str) -> list[int]:
    """Cut-offs from ``"5,10"``.

    Raises
    ------
    SettingsError
        One is not a whole number of at least 1.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdigit() and int(part) >= 1 for part in parts):
        raise SettingsError(f"--k is {text!r}; give whole numbers of at least 1 separated by commas, such as 5,10")
    return sorted({int(part) for part in parts})


def read_test(recommender: Recommender, table: TableAddress, rows: Rows) -> Dataset:
    """Held-out interactions with ids in the types of the model."""
    known = recommender.parts.dataset
    frame = load_interactions(table, known.items["item_id"], rows.policy, rows.rejects)
    frame = frame.with_columns(pl.col("item_id").cast(known.items["item_id"].dtype))
    wanted = known.interactions["user_id"].dtype
    if frame["user_id"].dtype != wanted:
        frame = frame.with_columns(pl.col("user_id").cast(wanted, strict=False))
        strange = frame["user_id"].null_count()
        if strange:
            logger.warning("%s: %d rows are of users whose ids the model cannot know; left out", table, strange)
            frame = frame.filter(pl.col("user_id").is_not_null())
    if frame.height == 0:
        raise DataError(f"{table}: there are no interactions to test with")
    return Dataset(frame, known.items, known.users, name=table.name)
