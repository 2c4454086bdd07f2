"""From a table as read to a table as flanrec uses it: roles, types, and a report of every unusable row.

Each function returns the usable rows only; what is wrong with the others is in `problems`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import polars as pl

from flanrec.data.columns import (
    category_column,
    id_column,
    number_column,
    text_column,
    time_column,
    whole_numbers,
    year_column,
)
from flanrec.data.problems import Problems
from flanrec.data.readers import Table
from flanrec.data.schema import TableKind, resolve_columns

log = logging.getLogger(__name__)

TITLE_WORDS = 12


class Checked:
    """A table under validation: its columns by role, and a mask of the rows that are still usable."""

    def __init__(self, table: Table, kind: TableKind, problems: Problems) -> None:
        self.table = table
        self.problems = problems
        self.roles: Mapping[str, str] = resolve_columns(table.frame.columns, kind, table.file)
        self.usable = pl.repeat(True, table.frame.height, eager=True, dtype=pl.Boolean)
        problems.frames.extend(table.problems.frames)

    def raw(self, role: str) -> pl.Series:
        """The column of `role` as it was read."""
        return self.table.frame[self.roles[role]]

    def reject(self, problem: str, role: str, bad: pl.Series) -> None:
        """Report the rows where `bad` is true and leave them out."""
        if bool(bad.any()):
            column = self.roles.get(role, role)
            values = self.table.frame[column] if column in self.table.frame.columns else self.table.frame.to_series()
            if isinstance(values.dtype, pl.List):
                values = text_column(values)
            self.problems.add(problem, self.table.file, column, self.table.rows.filter(bad), values.filter(bad))
            self.usable = self.usable & ~bad

    def ids(self, role: str) -> pl.Series:
        """The ids of `role`; rows without one are rejected."""
        ids = id_column(self.raw(role), self.table.typed, self.table.file).alias(role)
        self.reject(f"missing {role.replace('_', ' ')}", role, ids.is_null())
        return ids

    def attributes(self) -> list[pl.Series]:
        """The columns without a role; whole numbers of text files become integers."""
        rest = [column for column in self.table.frame.columns if column not in self.roles.values()]
        series = [self.table.frame[column] for column in rest]
        taken = set(self.roles) | {"row"}
        series = [column.alias(f"{column.name}_") if column.name in taken else column for column in series]
        if self.table.typed:
            return series
        return [whole_numbers(_blank_to_null(column)) for column in series]


def _blank_to_null(values: pl.Series) -> pl.Series:
    return values.set(values.str.strip_chars() == "", None)


def check_interactions(table: Table, problems: Problems) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Validate interactions, all but whether the items are known.

    Returns
    -------
    frame, origin
        `frame` has user_id, item_id, timestamp, weight, rating and event (if given) and row (UInt32,
        position in the input). `origin` has for the same rows file, line and the item as written.
    """
    checked = Checked(table, "interactions", problems)
    columns = [checked.ids("user_id"), checked.ids("item_id"), _times(checked)]
    if "weight" in checked.roles:
        weights, unreadable = number_column(checked.raw("weight"))
        checked.reject("weight is not a number", "weight", unreadable)
        checked.reject("negative weight", "weight", (weights < 0).fill_null(False))
        columns.append(weights.fill_null(1.0).alias("weight"))
    else:
        columns.append(pl.repeat(1.0, table.frame.height, eager=True).alias("weight"))
    if "rating" in checked.roles:
        columns.append(_ratings(checked))
    if "event" in checked.roles:
        columns.append(text_column(checked.raw("event")).alias("event"))
    unused = [name for name in table.frame.columns if name not in checked.roles.values()]
    if unused:
        log.info("%s: columns without a role are not used: %s", table.file, ", ".join(unused))
    frame = pl.DataFrame(columns).with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"))
    key = [name for name in ("user_id", "item_id", "timestamp", "event") if name in frame.columns]
    again = pl.repeat(False, frame.height, eager=True, dtype=pl.Boolean)
    usable = frame.filter(checked.usable)
    seconds = usable.filter(~usable.select(pl.struct(key).is_first_distinct()).to_series())["row"]
    if seconds.len():
        again = again.scatter(seconds, True)
    checked.reject("duplicate interaction", "user_id", again)
    origin = pl.DataFrame({"line": table.rows, "value": checked.raw("item_id").cast(pl.String, strict=False)})
    origin = origin.with_columns(pl.lit(table.file).alias("file"), pl.lit(checked.roles["item_id"]).alias("column"))
    return frame.filter(checked.usable), origin.filter(checked.usable)


def reject_unknown_items(
    frame: pl.DataFrame, origin: pl.DataFrame, item_ids: pl.Series, problems: Problems
) -> pl.DataFrame:
    """Leave out and report the rows of `frame` whose item is not in `item_ids` (of the same type)."""
    unknown = ~frame["item_id"].is_in(item_ids.implode())
    if not bool(unknown.any()):
        return frame
    where = origin.filter(unknown)
    problems.add("unknown item", str(where["file"][0]), str(where["column"][0]), where["line"], where["value"])
    return frame.filter(~unknown)


def check_items(table: Table, problems: Problems) -> pl.DataFrame:
    """Validate items: item_id, title, text, category, year (if given), then the other columns.

    A table without a title column takes the first words of the text as the title.
    """
    checked = Checked(table, "items", problems)
    ids = checked.ids("item_id")
    nothing = pl.repeat("", table.frame.height, eager=True, dtype=pl.String)
    texts = text_column(checked.raw("text")) if "text" in checked.roles else nothing
    if "title" in checked.roles:
        titles = text_column(checked.raw("title"))
        checked.reject("item without title", "title", (titles == "") & (texts != ""))
    else:
        log.info("%s: there is no title column; the first words of the text are the title", table.file)
        titles = texts.str.split(" ").list.head(TITLE_WORDS).list.join(" ")
    checked.reject(
        "item without title and text", "title" if "title" in checked.roles else "text", (titles == "") & (texts == "")
    )
    _reject_repeated(checked, ids, "duplicate item id", "item_id")
    if "category" in checked.roles:
        categories = category_column(checked.raw("category"), checked.roles["category"] in table.sequences)
    else:
        categories = pl.Series("category", [[]] * table.frame.height, dtype=pl.List(pl.String))
    columns = [ids, titles.alias("title"), texts.alias("text"), categories.alias("category")]
    if "year" in checked.roles:
        columns.append(year_column(checked.raw("year")).alias("year"))
    return pl.DataFrame([*columns, *checked.attributes()]).filter(checked.usable)


def check_users(table: Table, problems: Problems) -> pl.DataFrame:
    """Validate users: user_id, then the attribute columns."""
    checked = Checked(table, "users", problems)
    ids = checked.ids("user_id")
    _reject_repeated(checked, ids, "duplicate user id", "user_id")
    return pl.DataFrame([ids, *checked.attributes()]).filter(checked.usable)


def check_reviews(table: Table, problems: Problems) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Validate reviews: user_id, item_id, text, timestamp and rating (if given); `origin` as for interactions."""
    checked = Checked(table, "reviews", problems)
    columns = [checked.ids("user_id"), checked.ids("item_id"), text_column(checked.raw("text")).alias("text")]
    checked.reject("review without text", "text", columns[-1] == "")
    if "timestamp" in checked.roles:
        columns.append(_times(checked))
    if "rating" in checked.roles:
        columns.append(_ratings(checked))
    origin = pl.DataFrame({"line": table.rows, "value": checked.raw("item_id").cast(pl.String, strict=False)})
    origin = origin.with_columns(pl.lit(table.file).alias("file"), pl.lit(checked.roles["item_id"]).alias("column"))
    return pl.DataFrame(columns).filter(checked.usable), origin.filter(checked.usable)


def _times(checked: Checked) -> pl.Series:
    height = checked.table.frame.height
    if "timestamp" not in checked.roles:
        return pl.Series("timestamp", [None] * height, dtype=pl.Int64)
    seconds, unreadable, absurd = time_column(checked.raw("timestamp"), checked.table.file)
    missing = seconds.is_null() & ~unreadable
    if bool(missing.all()):
        return seconds.alias("timestamp")
    checked.reject("missing timestamp", "timestamp", missing)
    checked.reject("bad timestamp", "timestamp", unreadable)
    checked.reject("absurd timestamp", "timestamp", absurd)
    return seconds.alias("timestamp")


def _ratings(checked: Checked) -> pl.Series:
    ratings, unreadable = number_column(checked.raw("rating"))
    checked.reject("rating is not a number", "rating", unreadable)
    return ratings.alias("rating")


def _reject_repeated(checked: Checked, ids: pl.Series, problem: str, role: str) -> None:
    kept = ids.to_frame("id").with_columns(checked.usable.alias("usable"))
    later = kept.select(pl.col("usable") & (pl.col("usable").cast(pl.UInt32).cum_sum().over("id") > 1)).to_series()
    checked.reject(problem, role, later)
