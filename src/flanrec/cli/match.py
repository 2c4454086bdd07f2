"""``flanrec match``: how probable it is that users like items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import polars as pl

from flanrec.cli.common import check_out, counting, ids_like, print_frame, print_json, write_out
from flanrec.cli.options import OutOption, Rows, Saved, grouped, table_option
from flanrec.data.addresses import TableAddress
from flanrec.data.columns import text_column
from flanrec.data.problems import Problems
from flanrec.data.readers import read_table
from flanrec.data.schema import resolve_columns

if TYPE_CHECKING:
    from flanrec.recommender import Recommender


@grouped
def match(
    saved: Saved,
    pairs: Annotated[TableAddress, table_option("--pairs", "Table with user_id and item_id.")],
    rows: Rows,
    out: OutOption = None,
) -> None:
    """Add to pairs the probability that the user likes the item."""
    check_out(out)
    recommender = saved.load()
    frame, typed = read_pairs(recommender, pairs, rows)
    with counting("matching", typed.height) as advance:
        chances = recommender.match(typed, progress=advance)["probability"]
    scored = frame.with_columns(chances)
    if out is not None:
        write_out(scored, out)
        if saved.as_json:
            print_json({"out": str(out), "rows": scored.height, "mean_probability": chances.mean()})
    elif saved.as_json:
        print_json({"pairs": scored.to_dicts()})
    else:
        print_frame(scored)


def read_pairs(recommender: Recommender, pairs: TableAddress, rows: Rows) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pairs as they were read, and the same rows as user_id and item_id in the types of the model.

    A user that the model cannot know is null in the second table: a user without a history. A row
    without an id or with an item that is not in the catalogue is a bad row.
    """
    table = read_table(pairs)
    problems = Problems(list(table.problems.frames))
    roles = resolve_columns(table.frame.columns, "interactions", table.file)
    texts = {role: text_column(table.frame[roles[role]]) for role in ("user_id", "item_id")}
    dataset, catalogue = recommender.parts.dataset, recommender.parts.catalogue
    items = ids_like(dataset.items["item_id"].dtype, texts["item_id"].to_list())
    unusable = {
        "missing user id": ("user_id", texts["user_id"] == ""),
        "missing item id": ("item_id", texts["item_id"] == ""),
        "unknown item": (
            "item_id",
            pl.Series([item not in catalogue for item in items], dtype=pl.Boolean) & (texts["item_id"] != ""),
        ),
    }
    usable = pl.repeat(True, table.frame.height, eager=True, dtype=pl.Boolean)
    for problem, (role, bad) in unusable.items():
        problems.add(problem, table.file, roles[role], table.rows.filter(bad), texts[role].filter(bad))
        usable &= ~bad
    problems.settle(rows.policy, rows.rejects)
    typed = pl.DataFrame(
        [
            _column("user_id", texts["user_id"], dataset.interactions["user_id"].dtype),
            _column("item_id", texts["item_id"], dataset.items["item_id"].dtype),
        ]
    )
    return table.frame.filter(usable), typed.filter(usable)


def _column(name: str, texts: pl.Series, dtype: pl.DataType) -> pl.Series:
    if not dtype.is_integer():
        return texts.alias(name)
    ids: list[Any] = [one if isinstance(one, int) else None for one in ids_like(dtype, texts.to_list())]
    return pl.Series(name, ids, dtype=dtype)
