"""``flanrec demo``: the whole way on MovieLens-100K, shown as it goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from flanrec.cli.clock import Clock
from flanrec.cli.common import json_text, print_json, progress_callbacks
from flanrec.cli.options import JsonOption

if TYPE_CHECKING:
    import polars as pl

    from flanrec.data import Split
    from flanrec.evaluation import Report
    from flanrec.recommender import Recommender

_GENERATION_USERS = 200
_ZERO_SHOT_USERS = 100
_SHOWN_USERS = 3
_WISHES = (
    ("wish: comedy", "comedy", ""),
    ("wish: thriller, but no action", "thriller", "action"),
)
_METRICS = ("ndcg@10", "hit_rate@10")


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the model and the record.")] = Path("runs/demo"),
    preset: Annotated[str, typer.Option(help="fast, balanced or best.")] = "balanced",
    seed: Annotated[int, typer.Option(help="Decides every draw.")] = 42,
    backbone: Annotated[str | None, typer.Option(help="Folder, hub id or 'offline'.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch MovieLens-100K and a Flan-T5, tune, evaluate, recommend and explain."""
    from flanrec.data import leave_one_out, load_dataset
    from flanrec.evaluation.matching import match_record
    from flanrec.evaluation.models import match_reports
    from flanrec.evaluation.references import zero_shot_report
    from flanrec.recommender import Recommender, RecommenderSettings
    from flanrec.recommender.tables import joined

    console = Console(stderr=as_json)
    clock = Clock(console)
    data = load_dataset("ml-100k")
    split = leave_one_out(data)
    clock.done(f"data: {data.interactions.height:,} ratings, {data.items.height:,} movies, {len(data.user_ids)} users")
    settings = RecommenderSettings.preset(preset, noun="movie", nouns="movies", seed=seed)
    recommender = Recommender.from_pretrained(backbone, settings)
    clock.done(f"model: {recommender.backbone.source.name} from {recommender.backbone.source.kind}")
    known = joined(split.train, split.validation)
    zero_shot = zero_shot_report(recommender.backbone, settings, known, split.test, users=_ZERO_SHOT_USERS, seed=seed)
    clock.done("zero-shot measured, before any tuning")
    recommender.fit(split.train, split.validation, callbacks=progress_callbacks)
    clock.done("tuned")
    reports = _reports(recommender, split, seed)
    match = match_reports(recommender, split.test)
    clock.done("evaluated")
    _show_quality(console, [*reports, zero_shot], match)
    for verdict in recommender.parts.fusion.verdicts:
        console.print(f"Fused ranking: {verdict.to_text()}")
    users = split.test.user_ids[:_SHOWN_USERS]
    for user in users:
        _show_user(console, recommender, user)
    _show_wishes(console, recommender, users[0])
    recommender.save_pretrained(out / "model")
    record = {
        "preset": preset,
        "seed": seed,
        "backbone": recommender.backbone.source.name,
        "seconds": clock.seconds,
        "reports": [report.to_dict() for report in [*reports, zero_shot]],
        "match": match_record(match),
        "fusion": [verdict.to_dict() for verdict in recommender.parts.fusion.verdicts],
    }
    (out / "record.json").write_text(json_text(record), encoding="utf-8")
    clock.done(f"saved: model in {out / 'model'}, numbers in {out / 'record.json'}")
    console.print(f'\nNext: [bold]flanrec recommend --model {out / "model"} --history "Alien (1979)" --wish comedy[/]')
    if as_json:
        print_json(record)


def _reports(recommender: Recommender, split: Split, seed: int) -> list[Report]:
    from flanrec.evaluation.models import evaluate_model
    from flanrec.evaluation.references import reference_reports

    fused = evaluate_model(recommender, split.test, (5, 10), "fused", seed=seed)
    tokens = evaluate_model(recommender, split.test, (5, 10), "item_tokens", seed=seed, name="item tokens")
    generated = evaluate_model(
        recommender, split.test, (5, 10), "generate", _GENERATION_USERS, seed,
        name=f"generated, {_GENERATION_USERS} users",
    )  # fmt: skip
    return [fused, tokens, generated, *reference_reports(recommender.parts.dataset, split.test, seed=seed)]


def _show_quality(console: Console, reports: list[Report], match: Sequence[Report]) -> None:
    from flanrec.evaluation import comparison_table
    from flanrec.evaluation.matching import match_table

    console.print(comparison_table(reports, _METRICS, title="MovieLens-100K, leave-one-out, all movies ranked"))
    console.print(match_table(match, "P(the user likes the movie), held-out ratings, 4 and 5 are yes"))


def _show_user(console: Console, recommender: Recommender, user: Any) -> None:
    person = recommender.people([user])[0]
    titles = recommender.parts.catalogue.titles
    newest = ", ".join(titles[item] for item in person.items[-5:])
    console.print(Panel(f"watched {len(person.items)} movies, the newest: {escape(newest)}", title=f"User {user}"))
    console.print(f"[dim]instruction, item tokens:[/] {escape(recommender.token_reading.prompts([person])[0])}")
    console.print(f"[dim]instruction, generation:[/] {escape(recommender.word_reading.prompts([person])[0])}")
    console.print(_titles(recommender, recommender.recommend([user], k=5)))
    first = recommender.recommend([user], k=1)["item_id"][0]
    console.print(f"[bold]Why?[/] {escape(recommender.explain(user, first).to_text())}\n")


def _show_wishes(console: Console, recommender: Recommender, user: Any) -> None:
    table = Table(title=f"User {user}, the same history, other words")
    lists = []
    for label, wish, avoid in (("(no wish)", "", ""), *_WISHES):
        table.add_column(label)
        found = recommender.recommend([user], k=5, wish=wish, avoid=avoid)
        lists.append(_names(recommender, found))
    for row in zip(*lists, strict=True):
        table.add_row(*row)
    console.print(table)


def _names(recommender: Recommender, found: pl.DataFrame) -> list[str]:
    """Title and categories of recommended items, safe to print."""
    catalogue = recommender.parts.catalogue
    items = [catalogue.index_of(item) for item in found["item_id"].to_list()]
    return [
        f"{escape(catalogue.titles[item])} [dim]{escape(', '.join(catalogue.categories[item]))}[/]" for item in items
    ]


def _titles(recommender: Recommender, found: pl.DataFrame) -> Table:
    table = Table("rank", "movie", "score")
    for name, row in zip(_names(recommender, found), found.iter_rows(named=True), strict=True):
        table.add_row(str(row["rank"]), name, f"{row['score']:.2f}")
    return table
