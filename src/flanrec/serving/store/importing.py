"""The data of a model taken into the store: its users, items, events and reviews, once."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Table, func, select

from flanrec.data import Dataset
from flanrec.data.own_reviews import reviews_of_users
from flanrec.serving.store.database import Database
from flanrec.serving.store.items import item_values, next_revision
from flanrec.serving.store.records import Item, User
from flanrec.serving.store.tables import events, forgotten, imported, items, reviews, users
from flanrec.serving.store.trail import Trace, note

_TOGETHER = 10_000
_ITEM_COLUMNS = ("item_id", "title", "text", "category", "year")


def take_in(database: Database, model: str, dataset: Dataset, by: Trace) -> bool:
    """Add what a model knows to the store, in one transaction; whether that was new.

    What the store has already stays as it is: an item that was changed or deleted in the service does not come back,
    and neither do users who were deleted, nor what they did.

    Parameters
    ----------
    model
        What tells the model from others, such as the SHA-256 of its manifest.
    """
    with database.writing() as connection:
        if connection.execute(select(imported.c.model).where(imported.c.model == model)).first():
            return False
        gone = set(connection.execute(select(forgotten.c.user_id)).scalars())
        revision = next_revision(database, connection)
        rows = ({"item_id": item.item_id, **item_values(item, revision)} for item in items_of(dataset))
        _insert(database, connection, items, rows)
        people = (vars(user) for user in users_of(dataset) if user.user_id not in gone)
        _insert(database, connection, users, people)
        done = (row for row in _events(dataset) if row["user_id"] not in gone)
        _insert(database, connection, events, _unmet(connection, done, "event" in dataset.interactions.columns))
        _insert(database, connection, reviews, (row for row in _reviews(dataset) if row["user_id"] not in gone))
        connection.execute(imported.insert().values(model=model, moment=time.time()))
        note(connection, by, "take in model", model)
    return True


def items_of(dataset: Dataset) -> Iterator[Item]:
    """The items of a data set as the store keeps them."""
    for row in dataset.items.iter_rows(named=True):
        told = {name: _plain(value) for name, value in row.items() if name not in _ITEM_COLUMNS and value is not None}
        yield Item(
            str(row["item_id"]), row["title"] or "", row["text"] or "", tuple(row["category"] or ()), row.get("year"),
            told,
        )  # fmt: skip


def users_of(dataset: Dataset) -> Iterator[User]:
    """The users of a data set that have a row."""
    for row in () if dataset.users is None else dataset.users.iter_rows(named=True):
        told = {name: _plain(value) for name, value in row.items() if name != "user_id" and value is not None}
        yield User(str(row["user_id"]), told)


def _events(dataset: Dataset) -> Iterator[dict[str, Any]]:
    for row in dataset.interactions.iter_rows(named=True):
        yield {
            "user_id": str(row["user_id"]),
            "item_id": str(row["item_id"]),
            "timestamp": None if row["timestamp"] is None else float(row["timestamp"]),
            "event": row.get("event") or "",
            "rating": row.get("rating"),
            "weight": row["weight"],
        }


def _unmet(connection: Connection, rows: Iterable[dict[str, Any]], kinds: bool) -> Iterator[dict[str, Any]]:
    """Those events that the store did not have before: the log may have been learnt from the store.

    Parameters
    ----------
    kinds
        Whether the log has kinds; where it has none, an event is known that the store has under any.
    """
    named = ("user_id", "item_id", "timestamp", *(("event",) if kinds else ()))
    columns = [events.c[name] for name in named]
    last = connection.execute(select(func.max(events.c.number))).scalar_one() or 0
    rows = iter(rows)
    while some := list(islice(rows, _TOGETHER)):
        users = list({row["user_id"] for row in some})
        met = select(*columns).where(events.c.user_id.in_(users), events.c.number <= last)
        known = {tuple(row) for row in connection.execute(met)}
        yield from (row for row in some if tuple(row[name] for name in named) not in known)


def _reviews(dataset: Dataset) -> Iterator[dict[str, Any]]:
    if dataset.reviews is None:
        return
    for user, own in reviews_of_users(
        dataset, dataset.reviews["user_id"].unique(maintain_order=True).to_list()
    ).items():
        for item, text in own.items():
            yield {"user_id": str(user), "item_id": str(dataset.item_ids[item]), "text": text}


def _insert(database: Database, connection: Connection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    statement = database.insert(table).on_conflict_do_nothing()
    rows = iter(rows)
    while some := list(islice(rows, _TOGETHER)):
        connection.execute(statement, some)


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool) else str(value)
