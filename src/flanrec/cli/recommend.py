"""``flanrec recommend``: ranked items for stored users, for histories, or for a history said in titles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import polars as pl
import polars.selectors as cs
import typer

from flanrec.cli.common import check_out, counting, item_ids, print_frame, print_json, user_ids, write_out
from flanrec.cli.options import HistoriesOption, Lists, ReadingName, Rows, Saved, grouped
from flanrec.cli.policies import check_policies, plain, read_policies, tell
from flanrec.errors import SettingsError

if TYPE_CHECKING:
    from flanrec.catalogue.people import Person
    from flanrec.data.addresses import TableAddress
    from flanrec.recommender import Recommender

_TOGETHER = 256


@grouped
def recommend(
    saved: Saved,
    lists: Lists,
    rows: Rows,
    histories: HistoriesOption = None,
    history: Annotated[
        list[str] | None, typer.Option("--history", help="A title or item id of one user, oldest first. Repeatable.")
    ] = None,
    reading: Annotated[ReadingName, typer.Option(help="How to read the tuned model.")] = ReadingName.fused,
    seen: Annotated[bool, typer.Option("--seen", help="Items of the history may come again.")] = False,
    sources: Annotated[
        bool, typer.Option("--sources", help="Add what every source of the fused ranking gave each item.")
    ] = False,
    only_file: Annotated[
        Path | None, typer.Option("--only-file", help="File with the item ids that alone may come, one a line.")
    ] = None,
    without_file: Annotated[
        Path | None, typer.Option("--without-file", help="File with item ids that may not come, one a line.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="TOML file with rules that re-rank the lists.")
    ] = None,
) -> None:
    """Recommend items to users."""
    stored = lists.users_file is not None or bool(lists.user)
    if stored + (histories is not None) + bool(history) != 1:
        raise SettingsError("say for whom: --users-file or --user, or --histories, or --history, and only one of them")
    from flanrec.ranking.tally import Tally
    from flanrec.recommender import Asking
    from flanrec.recommender.requests import check_sources, warn_of_strangers
    from flanrec.recommender.tables import recommendations

    check_sources(reading.value, sources)
    check_out(lists.out)
    policies = read_policies([] if policy is None else [policy])
    recommender = saved.load()
    check_policies(policies, recommender)
    if histories is not None:
        ids, persons = people_of(recommender, histories, rows)
    elif history:
        ids, persons = [None], [recommender.person(history)]
    else:
        ids = user_ids(recommender, lists.users_file, lists.user or ())
        persons = recommender.people(ids)
    warn_of_strangers(persons)
    parts = recommender.parts
    only = None if only_file is None else item_ids(recommender, only_file)
    without = () if without_file is None else item_ids(recommender, without_file)
    spelled = reading is ReadingName.generate
    items = np.full((len(persons), min(lists.k, len(parts.catalogue))), -1, dtype=np.int64)
    scores = np.full(items.shape, -np.inf, dtype=np.float32)
    rules = None if policy is None else policies[policy]
    tally = Tally(() if rules is None else rules.active)
    said = Asking(lists.wish, lists.avoid)
    with counting("recommending", len(persons)) as advance:
        how: dict[str, Any] = {
            "reading": reading.value,
            "seen": seen,
            "only": only,
            "without": without,
            "progress": advance if spelled else None,
        }
        for first in range(0, len(persons), _TOGETHER):
            part = slice(first, first + _TOGETHER)
            if rules is None:
                items[part], scores[part] = recommender.rank(persons[part], lists.k, said, **how)
            else:
                reranked = recommender.candidates(persons[part], lists.k, said, **how).reranked(rules)
                items[part], scores[part] = reranked.items, reranked.scores
                tally.add(reranked)
            if not spelled:
                advance(len(persons[part]))
    tell(tally)
    table = recommendations(ids, items, scores, parts.dataset, parts.catalogue.item_ids)
    if sources:
        table = table.with_columns(recommender.source_columns(persons, items, said))
    titles = dict(zip(parts.catalogue.item_ids, parts.catalogue.titles, strict=True))
    deliver(table, titles, lists.out, saved.as_json, None if policy is None else {"policy": plain(policy, tally)})


def people_of(recommender: Recommender, histories: TableAddress, rows: Rows) -> tuple[list[Any], list[Person]]:
    """The users of an interactions table, in order of appearance, with what they did there and nothing else."""
    from flanrec.catalogue.people import people
    from flanrec.data.dataset import Dataset, load_interactions

    items = recommender.parts.dataset.items
    frame = load_interactions(histories, items["item_id"], rows.policy, rows.rejects)
    frame = frame.with_columns(pl.col("item_id").cast(items["item_id"].dtype))
    ids = frame["user_id"].unique(maintain_order=True).to_list()
    return ids, people(Dataset(frame, items, name=histories.name), ids)


def deliver(
    table: pl.DataFrame,
    titles: dict[Any, str],
    out: Path | None,
    as_json: bool,
    also: dict[str, Any] | None = None,
) -> None:
    """Write recommendations to a file, or print them with titles; `also` stands beside them in JSON."""
    if out is not None:
        write_out(table, out)
        if as_json:
            written = {"out": str(out), "users": table["user_id"].n_unique(), "rows": table.height}
            print_json(written | (also or {}))
        return
    named = table.with_columns(
        pl.Series("title", [titles.get(item, "") for item in table["item_id"].to_list()], dtype=pl.String)
    )
    if as_json:
        groups = [
            {"user_id": part["user_id"][0], "items": part.drop("user_id").to_dicts()}
            for part in named.partition_by("user_id", maintain_order=True)
        ]
        print_json({"recommendations": groups} | (also or {}))
        return
    shown = named.select("user_id", "rank", "title", "item_id", "score", cs.starts_with("from_").round(2))
    print_frame(shown.drop("user_id") if named["user_id"].null_count() == named.height else shown)
