"""Recommendations that were shown, and how many of them were met by an event."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from sqlalchemy import Integer, case, cast, delete, func, select

from flanrec.serving.store.database import Database
from flanrec.serving.store.records import Shown
from flanrec.serving.store.tables import events, shown
from flanrec.serving.store.users import USERS_GO, deleted_since

_COLUMNS = [shown.c[one.name] for one in fields(Shown)]


_HOUR = 3_600.0


@dataclass(frozen=True)
class Answer:
    """A list that was shown, with what its user did with it.

    Attributes
    ----------
    model, arm, user_id
        As of `Shown`.
    places
        Of the items that were met, from 1.
    """

    model: str
    arm: str
    places: tuple[int, ...]
    user_id: str | None = None


@dataclass(frozen=True)
class Hour:
    """The lists of one version of a model that were shown in an hour.

    Attributes
    ----------
    moment
        When it begins, in seconds.
    model
    lists
    fallbacks
        How many of them were not the model's.
    """

    moment: float
    model: str
    lists: int
    fallbacks: int


class ShownLists:
    """The lists that were recommended."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, lists: Sequence[Shown]) -> None:
        """Keep lists; passed over are those of known requests, and of users who were deleted since they asked."""
        rows = [
            {one.name: getattr(entry, one.name) for one in fields(Shown)} | {"item_ids": list(entry.item_ids)}
            for entry in lists
        ]
        with self._database.writing() as connection:
            self._database.wait_turn(connection, USERS_GO, alone=False)
            gone = deleted_since(connection, min((entry.moment for entry in lists), default=math.inf))
            if rows := [row for row in rows if row["moment"] > gone.get(row["user_id"], -math.inf)]:
                connection.execute(self._database.insert(shown).on_conflict_do_nothing(), rows)

    def get(self, request_id: str) -> Shown | None:
        """The list of a request."""
        with self._database.reading() as connection:
            row = connection.execute(select(*_COLUMNS).where(shown.c.request_id == request_id)).first()
        return None if row is None else Shown(**{**row._mapping, "item_ids": tuple(row.item_ids)})

    def answers(self, since: float, events_named: Sequence[str] = (), but: Sequence[str] = ()) -> list[Answer]:
        """Every list shown since a moment, with the places of those of its items that events of its request met.

        Parameters
        ----------
        events_named
            Kinds of events that count; all by default.
        but
            Those that do not, then.
        """
        met = select(events.c.request_id, events.c.item_id).join(shown, shown.c.request_id == events.c.request_id)
        met = met.where(shown.c.moment >= since)
        if events_named:
            met = met.where(events.c.event.in_(list(events_named)))
        elif but:
            met = met.where(events.c.event.not_in(list(but)))
        lists = select(shown.c.request_id, shown.c.model, shown.c.arm, shown.c.item_ids, shown.c.user_id)
        lists = lists.where(shown.c.moment >= since).order_by(shown.c.moment)
        with self._database.reading() as connection:
            touched: dict[str, set[str]] = {}
            for request_id, item_id in connection.execute(met):
                touched.setdefault(request_id, set()).add(item_id)
            found = []
            for request_id, model, arm, item_ids, user_id in connection.execute(lists):
                items = touched.get(request_id, set())
                places = tuple(place for place, item in enumerate(item_ids, start=1) if item in items)
                found.append(Answer(model, arm, places, user_id))
        return found

    def hours(self, since: float) -> list[Hour]:
        """Lists shown since a moment, by hour and model; hours without lists are left out."""
        # A cast rounds in PostgreSQL, and SQLite may have no floor.
        whole = shown.c.moment / _HOUR
        hour = func.floor(whole) if self._database.kind == "postgresql" else cast(whole, Integer)
        fallen = func.sum(case((shown.c.fallback != "", 1), else_=0))
        query = select(hour, shown.c.model, func.count(), fallen).where(shown.c.moment >= since)
        with self._database.reading() as connection:
            rows = connection.execute(query.group_by(hour, shown.c.model).order_by(hour, shown.c.model)).all()
        return [Hour(_HOUR * int(row[0]), row[1], row[2], int(row[3])) for row in rows]

    def forget(self, before: float) -> int:
        """Delete lists from before a moment, in seconds; how many they were."""
        with self._database.writing() as connection:
            return connection.execute(delete(shown).where(shown.c.moment < before)).rowcount
