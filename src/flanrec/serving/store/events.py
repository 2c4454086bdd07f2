"""Events in the store, and what users wrote of items."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl
from sqlalchemy import Connection, Row, Select, and_, case, func, select

from flanrec.serving.store.database import Database, is_new
from flanrec.serving.store.opening import open_case
from flanrec.serving.store.records import Case, Event, Page
from flanrec.serving.store.tables import events, items, reviews

# As the fields of `Event`, but for the review, which has a table of its own.
_NAMES = ("user_id", "item_id", "timestamp", "event", "rating", "weight", "feedback_id", "request_id")
_COLUMNS = [events.c[name] for name in _NAMES]
_NEWEST_LAST = (events.c.timestamp.asc().nulls_first(), events.c.number)
_NEWEST_FIRST = (events.c.timestamp.desc().nulls_last(), events.c.number.desc())
_LONG_AGO = -sys.float_info.max
_TOGETHER = 50_000


class Window(NamedTuple):
    """How much of a past is read.

    Attributes
    ----------
    most
        Events; of a user who has more, the newest so many that are behaviour.
    unwanted, ignored
        Kinds of events after which a user does not get an item again, and that say nothing; neither are behaviour.
    """

    most: int
    unwanted: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


class Past(NamedTuple):
    """What a user did and wrote.

    Attributes
    ----------
    events
        Oldest first.
    reviews
        By item id.
    refused
        Of a user with more events than were read: every item that they ever met, and whether they turned it down the
        last time. None where `events` are all.
    """

    events: tuple[Event, ...]
    reviews: dict[str, str]
    refused: Mapping[str, bool] | None = None


def pasts(connection: Connection, user_ids: Sequence[str], window: Window | None = None) -> dict[str, Past]:
    """What some users did and wrote; nothing for one who is not known.

    Parameters
    ----------
    window
        How much of it; None for all.
    """
    long = {} if window is None else dict.fromkeys(_with_more(connection, user_ids, window.most), window)
    short = [user for user in user_ids if user not in long]
    query = select(*_COLUMNS).where(events.c.user_id.in_(short)).order_by(*_NEWEST_LAST)
    done: dict[str, list[Event]] = {user: [] for user in short}
    for row in connection.execute(query):
        done[row[0]].append(Event(*row))
    wrote: dict[str, dict[str, str]] = {user: {} for user in short}
    for user, item, text in connection.execute(select(reviews).where(reviews.c.user_id.in_(short))):
        wrote[user][item] = text
    whole = {user: Past(tuple(found), wrote[user]) for user, found in done.items()}
    return whole | {user: _newest(connection, user, part) for user, part in long.items()}


def _with_more(connection: Connection, user_ids: Sequence[str], most: int) -> list[str]:
    """Those of some users who have more events."""
    query = select(events.c.user_id).where(events.c.user_id.in_(user_ids)).group_by(events.c.user_id)
    return list(connection.execute(query.having(func.count() > most)).scalars())


def _newest(connection: Connection, user_id: str, window: Window) -> Past:
    """The newest behaviour of a user with items that are not deleted, and what became of all items that they met."""
    review = and_(reviews.c.user_id == events.c.user_id, reviews.c.item_id == events.c.item_id)
    gone = select(items.c.item_id).where(items.c.item_id == events.c.item_id, items.c.deleted).exists()
    query = select(*_COLUMNS, reviews.c.text).outerjoin_from(events, reviews, review).where(events.c.user_id == user_id)
    query = query.where(events.c.event.not_in((*window.unwanted, *window.ignored)), ~gone)
    rows = connection.execute(query.order_by(*_NEWEST_FIRST).limit(window.most)).all()[::-1]
    written = {row.item_id: row.text for row in rows if row.text is not None}
    return Past(tuple(Event(*row[:-1]) for row in rows), written, _refused(connection, user_id, window))


def _refused(connection: Connection, user_id: str, window: Window) -> dict[str, bool]:
    """The items that a user met, and of each whether the newest event with it turns it down."""
    item, against = events.c.item_id, events.c.event.in_(window.unwanted)
    moment = func.coalesce(events.c.timestamp, _LONG_AGO)
    said = (events.c.user_id == user_id, events.c.event.not_in(window.ignored))
    no, yes = func.max(case((against, moment))), func.max(case((~against, moment)))
    found = connection.execute(select(item, no, yes).where(*said).group_by(item)).all()
    refused = {row[0]: row[1] is not None and (row[2] is None or row[1] > row[2]) for row in found}
    if any(row[1] == row[2] for row in found):  # at one moment: what became known last counts
        tied = select(item).where(*said).group_by(item).having(no == yes)
        query = select(item, events.c.event).where(*said, item.in_(tied)).order_by(*_NEWEST_LAST)
        refused |= {row[0]: row[1] in window.unwanted for row in connection.execute(query)}
    return refused


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
