"""What arrived since a data set was made: new users, items and interactions, put behind those that are known."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from flanrec.data.addresses import TableAddress
from flanrec.data.columns import same_id_type
from flanrec.data.dataset import Dataset, OnBadRows, table_of
from flanrec.data.problems import Problems
from flanrec.data.readers import Table, read_table
from flanrec.data.tables import check_interactions, check_items, check_users, reject_unknown_items
from flanrec.errors import DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Arrivals:
    """A data set with what arrived.

    Attributes
    ----------
    dataset
        All that is known now. New items and users are behind the known ones; each interaction is in its place in time,
        whatever the order in which they became known.
    first_row
        The ``row`` of the first interaction that is new; all from it on are.
    items, users
        How many are new: users who had neither events nor a row among the users.
    repeated
        Interactions that were given and known already.
    rows_of_users
        Rows that the users table did not have, whether or not the users had events.
    """

    dataset: Dataset
    first_row: int
    items: int = 0
    users: int = 0
    repeated: int = 0
    rows_of_users: int = 0

    @cached_property
    def interactions(self) -> pl.DataFrame:
        """Those that are new."""
        return self.dataset.interactions.filter(pl.col("row") >= self.first_row)

    @property
    def nothing(self) -> bool:
        """Whether everything was known already."""
        return not (self.interactions.height or self.items or self.rows_of_users)

    def places(self, part: Dataset) -> dict[Any, npt.NDArray[np.int64]]:
        """Where new interactions stand in users' histories.

        Parameters
        ----------
        part
            The data set, or one with fewer of its interactions.

        Returns
        -------
        dict
            By user id, of users who have some: rising places among the user's events as `Dataset.sequences` orders
            them, from 0.
        """
        ordered = part.interactions.sort("user_id", "timestamp", "row", maintain_order=True).with_columns(
            pl.int_range(pl.len(), dtype=pl.Int64).over("user_id").alias("_place")
        )
        new = ordered.filter(pl.col("row") >= self.first_row).group_by("user_id", maintain_order=True).agg("_place")
        return {user: np.array(places, dtype=np.int64) for user, places in new.iter_rows()}


def arrivals(
    dataset: Dataset,
    interactions: Any,
    items: Any = None,
    users: Any = None,
    *,
    on_bad_rows: OnBadRows = "raise",
    rejects: str | Path | None = None,
) -> Arrivals:
    """Validate what arrived, and put it behind what is known.

    Interactions, items and users that are known already are passed over, so that the same tables given again change
    nothing. A known interaction has the same user, item, time and, where there is one, event.

    Parameters
    ----------
    interactions, items, users
        Each a file, an address, or a frame, as `Dataset.from_files` and `Dataset.from_frames` take them.
    on_bad_rows, rejects
        What to do with rows that are not usable, as in `Dataset.from_files`.

    Raises
    ------
    DataError
        A table cannot be read, lacks a column, has unusable rows (`BadRowsError`), such as interactions with items that
        neither are known nor arrive, or values that do not go with the known ones.

    Examples
    --------
    >>> known = Dataset.from_frames({"user_id": [1], "item_id": [7]}, {"item_id": [7], "title": ["A"]})
    >>> found = arrivals(known, {"user_id": [1, 2], "item_id": [7, 8]}, {"item_id": [8], "title": ["B"]})
    >>> found.dataset.item_ids, found.interactions["user_id"].to_list(), found.items, found.repeated
    ([7, 8], [2], 1, 1)
    """
    problems = Problems()
    catalogue = dataset.items
    if items is not None:
        catalogue = _behind(catalogue, check_items(_table(items, "items"), problems), "item_id", "items")
    events, origin = check_interactions(_table(interactions, "interactions"), problems)
    events = events.with_columns(_typed(dataset.interactions["user_id"], events["user_id"], "user_id"),
                                 _typed(catalogue["item_id"], events["item_id"], "item_id"))  # fmt: skip
    people = dataset.users
    if users is not None:
        told = check_users(_table(users, "users"), problems)
        told = told.with_columns(_typed(dataset.interactions["user_id"], told["user_id"], "user_id"))
        people = told if people is None else _behind(people, told, "user_id", "users")
    events = reject_unknown_items(events, origin, catalogue["item_id"], problems)
    problems.settle(on_bad_rows, None if rejects is None else Path(rejects))
    fresh = _unknown(dataset.interactions, events)
    first = 0 if dataset.interactions.height == 0 else int(dataset.interactions["row"].max()) + 1  # type: ignore[arg-type]
    fresh = fresh.with_columns(pl.int_range(first, first + fresh.height, dtype=pl.UInt32, eager=True).alias("row"))
    return Arrivals(
        Dataset(
            pl.concat([dataset.interactions, fresh], how="vertical_relaxed"), catalogue, people, dataset.reviews,
            dataset.name,
        ),
        first_row=first,
        items=catalogue.height - dataset.items.height,
        users=len(_ids(fresh, people) - _ids(dataset.interactions, dataset.users)),
        repeated=events.height - fresh.height,
        rows_of_users=_height(people) - _height(dataset.users),
    )  # fmt: skip


def with_changed_items(dataset: Dataset, items: pl.DataFrame) -> tuple[Dataset, pl.DataFrame]:
    """A data set in which some items are new, or have other texts.

    Parameters
    ----------
    items
        As `flanrec.data.load_items` gives it.

    Returns
    -------
    dataset
        New items behind the known ones, which keep their places.
    rows
        The given items as it has them: in its columns, with ids of its type.

    Raises
    ------
    DataError
        Ids or values cannot be of the type that the known ones have.

    Examples
    --------
    >>> known = Dataset.from_frames({"user_id": [1], "item_id": [7]}, {"item_id": [7, 8], "title": ["A", "B"]})
    >>> changed, rows = with_changed_items(known, pl.DataFrame({"item_id": [9, 7], "title": ["C", "A2"]}))
    >>> changed.items["title"].to_list(), rows.columns
    (['A2', 'B', 'C'], ['item_id', 'title', 'text', 'category'])
    """
    known = dataset.items
    typed = items.with_columns(_typed(known["item_id"], items["item_id"], "item_id"))
    rows = _in_columns(typed, known.schema, "items").with_columns(
        pl.col(name).fill_null(pl.lit(nothing, dtype=known.schema[name]))
        for name, nothing in (("title", ""), ("text", ""), ("category", [])) if name in known.columns
    )  # fmt: skip
    places = {item: place for place, item in enumerate(dataset.item_ids)}
    at = [places.setdefault(item, len(places)) for item in rows["item_id"].to_list()]
    behind = rows.with_columns(pl.Series("_place", at, dtype=pl.Int64))
    before = known.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("_place"))
    merged = pl.concat([before, behind]).unique("_place", keep="last").sort("_place").drop("_place")
    return replace(dataset, items=merged), rows


def _ids(*tables: pl.DataFrame | None) -> set[Any]:
    """The users of some tables."""
    return {user for table in tables if table is not None for user in table["user_id"].unique().to_list()}


def _height(table: pl.DataFrame | None) -> int:
    return 0 if table is None else table.height


def _table(given: Any, kind: str) -> Table:
    return read_table(given) if isinstance(given, str | Path | TableAddress) else table_of(given, kind)


def _typed(known: pl.Series, ids: pl.Series, name: str) -> pl.Series:
    """Ids in the type of the known ones."""
    kept, changed = same_id_type(known.alias(name), ids.alias(name), name)
    if kept.dtype != known.dtype and known.len():
        raise DataError(f"the new ids in {name} are {ids.dtype}, the known ones {known.dtype}; give them one type")
    return changed


def _behind(known: pl.DataFrame, given: pl.DataFrame, key: str, kind: str) -> pl.DataFrame:
    """The rows of a table whose ids are new, behind those that are known, in the known columns."""
    given = given.with_columns(_typed(known[key], given[key], key))
    fresh = given.filter(~given[key].is_in(known[key].implode()))
    if fresh.height < given.height:
        log.info("%d of %d %s are known already and stay as they are", given.height - fresh.height, given.height, kind)
    unused = [name for name in fresh.columns if name not in known.columns]
    if unused:
        log.info("new %s: columns that the known ones lack are not used: %s", kind, ", ".join(unused))
    return pl.concat([known, _in_columns(fresh, known.schema, kind)], how="vertical")


def _unknown(known: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """The interactions that are not known, in the known columns but for the row."""
    times = known["timestamp"].null_count() < known.height
    if times and events["timestamp"].null_count():
        raise DataError(
            "the new interactions have no timestamps, the known ones have; give a column timestamp, so that each finds "
            "its place"
        )
    unused = [name for name in ("rating", "event") if name in events.columns and name not in known.columns]
    if unused:
        log.warning("the known interactions have no %s: that of the new ones is not used", " and no ".join(unused))
    schema = dict(known.schema)
    if schema["timestamp"].is_integer() and events["timestamp"].dtype.is_float():
        schema["timestamp"] = events["timestamp"].dtype
    fresh = _in_columns(events, pl.Schema(schema), "interactions")
    key = [name for name in ("user_id", "item_id", "timestamp", "event") if name in known.columns]
    before = known.select(key).cast({"timestamp": schema["timestamp"]})
    return fresh.join(before, on=key, how="anti", nulls_equal=True, maintain_order="left")


def _in_columns(frame: pl.DataFrame, schema: pl.Schema, kind: str) -> pl.DataFrame:
    """A frame in given columns and types, null where it has no such column."""
    columns = []
    for name, dtype in schema.items():
        if name not in frame.columns:
            columns.append(pl.Series(name, [None] * frame.height, dtype=dtype))
            continue
        try:
            columns.append(frame[name].cast(dtype))
        except pl.exceptions.PolarsError as problem:
            raise DataError(
                f"the column {name} of the new {kind} is {frame[name].dtype}, that of the known ones {dtype}; give "
                "them one type"
            ) from problem
    return pl.DataFrame(columns)
