"""Records of the store as tables that a model understands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from flanrec.data import Dataset
from flanrec.data.columns import WHOLE_NUMBER
from flanrec.serving.store import Item, User
from flanrec.serving.store.importing import items_of

_ITEM_COLUMNS = ("item_id", "title", "text", "category", "year")


def typed_id(text: str, dtype: pl.DataType) -> Any:
    """An id of the store in the type of a table's ids; None where it cannot be.

    >>> typed_id("7", pl.Int64()), typed_id("x", pl.Int64()), typed_id("7", pl.String())
    (7, None, '7')
    """
    if not dtype.is_integer():
        return text
    return int(text) if re.fullmatch(WHOLE_NUMBER, text) else None


def unlike(items: Sequence[Item], dataset: Dataset) -> pl.DataFrame:
    """Those of some items that a data set does not have, or has with other texts, as rows of its items table.

    Items whose ids cannot be of its type are left out. A value that cannot be of its column's type becomes none: the
    service let it in without knowing the column.
    """
    schema = dataset.items.schema
    given = {typed_id(item.item_id, schema["item_id"]): item for item in items}
    given.pop(None, None)
    there = dataset.items.filter(pl.col("item_id").is_in(_ids(given, schema["item_id"]).implode()))
    known = {item.item_id: item for item in items_of(replace(dataset, items=there))}
    fresh = {item_id: item for item_id, item in given.items() if known.get(item.item_id) != item}
    columns: dict[str, list[Any]] = {
        "item_id": list(fresh),
        "title": [item.title for item in fresh.values()],
        "text": [item.text for item in fresh.values()],
        "category": [list(item.category) for item in fresh.values()],
        "year": [item.year for item in fresh.values()],
    }
    columns |= {
        name: [item.attributes.get(name) for item in fresh.values()] for name in schema if name not in _ITEM_COLUMNS
    }
    return pl.DataFrame([_column(name, columns[name], schema[name]) for name in columns if name in schema])


def user_table(users: Sequence[User], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Users in the columns of a users table, ids as texts; a value that cannot be of its column's type becomes none."""
    told = [
        _column(name, [user.attributes.get(name) for user in users], dtype)
        for name, dtype in schema.items()
        if name != "user_id"
    ]
    return pl.DataFrame([_column("user_id", [user.user_id for user in users], pl.String()), *told])


def _ids(given: Mapping[Any, Item], dtype: pl.DataType) -> pl.Series:
    return pl.Series("item_id", list(given), dtype=dtype)


def _column(name: str, values: list[Any], dtype: pl.DataType) -> pl.Series:
    return pl.Series(name, values, dtype=dtype, strict=False)
