"""Events in the store, and what users wrote of items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl
from sqlalchemy import Connection, Row, Select, func, select

from flanrec.serving.store.database import Database, is_new
from flanrec.serving.store.opening import open_case
from flanrec.serving.store.records import Case, Event, Page
from flanrec.serving.store.tables import events, reviews

# As the fields of `Event`, but for the review, which has a table of its own.
_NAMES = ("user_id", "item_id", "timestamp", "event", "rating", "weight", "feedback_id", "request_id")
_COLUMNS = [events.c[name] for name in _NAMES]
_TOGETHER = 50_000


class Past(NamedTuple):
    """What a user did and wrote.

    Attributes
    ----------
    events
        Oldest first.
    reviews
        By item id.
    """

    events: tuple[Event, ...]
    reviews: dict[str, str]


def pasts(connection: Connection, user_ids: Sequence[str]) -> dict[str, Past]:
    """What some users did and wrote; nothing for one who is not known."""
    query = select(*_COLUMNS).where(events.c.user_id.in_(user_ids))
    query = query.order_by(events.c.timestamp.asc().nulls_first(), events.c.number)
    done: dict[str, list[Event]] = {user: [] for user in user_ids}
    for row in connection.execute(query):
        done[row[0]].append(Event(*row))
    wrote: dict[str, dict[str, str]] = {user: {} for user in user_ids}
    for user, item, text in connection.execute(select(reviews).where(reviews.c.user_id.in_(user_ids))):
        wrote[user][item] = text
    return {user: Past(tuple(found), wrote[user]) for user, found in done.items()}


class Events:
    """What users did; an event that is known is passed over.

    An event is known where its user, item, time and kind are, or its ``feedback_id`` is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, given: Sequence[Event], reported: Sequence[str] = ()) -> list[bool]:
        """Keep events and what was written with them, all or none; of each whether it was new.

        Parameters
        ----------
        reported
            Kinds of events that open a case for review, with them. What was written with one is the reason of the case,
            and no review.
        """
        with self._database.writing() as connection:
            new = [self._add(connection, event, event.event not in reported) for event in given]
            calls = [event for event, fresh in zip(given, new, strict=True) if fresh and event.event in reported]
            # In one order, so that two reports at once do not wait for each other.
            for event in sorted(calls, key=lambda event: event.item_id):
                case = Case("report", event.item_id, event.user_id, event.request_id, event.review)
                open_case(self._database, connection, case)
        return new

    def of(self, user_id: str) -> Past:
        """All that a user did and wrote."""
        with self._database.reading() as connection:
            return pasts(connection, [user_id])[user_id]

    def page(self, user_id: str, after: str | None = None, limit: int = 100) -> Page[Event]:
        """The events of a user in the order in which they became known."""
        query = select(*_COLUMNS, events.c.number).where(events.c.user_id == user_id)
        if after is not None:
            query = query.where(events.c.number > int(after))
        query = query.order_by(events.c.number).limit(limit + 1)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        found = tuple(Event(*row[:-1]) for row in rows[:limit])
        return Page(found, str(rows[limit - 1].number) if len(rows) > limit else None)

    def count(self) -> int:
        """How many there are."""
        with self._database.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(events)).scalar_one())

    def kinds_of(self, item_id: str) -> dict[str, int]:
        """How many events of each kind an item has, most first."""
        number = func.count()
        query = select(events.c.event, number).where(events.c.item_id == item_id).group_by(events.c.event)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(number.desc(), events.c.event)).all()
        return {kind: int(count) for kind, count in rows}

    def interactions(self) -> pl.DataFrame:
        """All events as an interactions table, in the order in which they became known."""
        schema = {
            "user_id": pl.String, "item_id": pl.String, "timestamp": pl.Float64, "event": pl.String,
            "rating": pl.Float64, "weight": pl.Float64,
        }  # fmt: skip
        return self._table(select(*_COLUMNS[:6]).order_by(events.c.number), schema)

    def reviews(self) -> pl.DataFrame:
        """All that was written as a reviews table."""
        schema = {"user_id": pl.String, "item_id": pl.String, "text": pl.String}
        return self._table(select(reviews).order_by(reviews.c.user_id, reviews.c.item_id), schema)

    def _add(self, connection: Connection, event: Event, reviews_count: bool) -> bool:
        values = {name: getattr(event, name) for name in _NAMES}
        new = is_new(connection, self._database.insert(events).values(values), events.c.number)
        if new and reviews_count and event.review:
            written = self._database.insert(reviews).values(
                user_id=event.user_id, item_id=event.item_id, text=event.review
            )
            newest = written.on_conflict_do_update(index_elements=["user_id", "item_id"], set_={"text": event.review})
            connection.execute(newest)
        return new

    def _table(self, query: Select[Any], schema: dict[str, Any]) -> pl.DataFrame:
        with self._database.reading() as connection:
            found = connection.execution_options(yield_per=_TOGETHER).execute(query)
            parts = [_frame(part, schema) for part in found.partitions()]
        return pl.concat(parts) if parts else pl.DataFrame(schema=schema)


def _frame(rows: Sequence[Row[Any]], schema: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([tuple(row) for row in rows], schema=schema, orient="row")
