"""The audit log: who changed what, written in the transaction of the change."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from flanrec.serving.store.database import Database
from flanrec.serving.store.records import Page
from flanrec.serving.store.tables import audit


@dataclass(frozen=True)
class Trace:
    """By whom, and in which request, something is changed.

    Attributes
    ----------
    actor
        Name of an API key, or of a command; never the key itself.
    request_id
        "" outside a request.
    """

    actor: str
    request_id: str = ""


@dataclass(frozen=True)
class Entry:
    """A line of the audit log."""

    number: int
    moment: float
    actor: str
    action: str
    target: str
    request_id: str


def note(connection: Connection, by: Trace, action: str, target: str) -> None:
    """Add a line in the transaction that makes the change."""
    connection.execute(
        insert(audit).values(moment=time.time(), actor=by.actor, action=action, target=target, request_id=by.request_id)
    )


class Trail:
    """Reads the audit log, and forgets what is old."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, by: Trace, action: str, target: str) -> None:
        """Add a line about what is not in the store."""
        with self._database.writing() as connection:
            note(connection, by, action, target)

    def page(self, after: str | None = None, limit: int = 100) -> Page[Entry]:
        """The log from the newest line on."""
        query = select(audit).order_by(audit.c.number.desc()).limit(limit + 1)
        if after is not None:
            query = query.where(audit.c.number < int(after))
        with self._database.reading() as connection:
            rows = [Entry(**row) for row in connection.execute(query).mappings()]
        return Page(tuple(rows[:limit]), str(rows[limit - 1].number) if len(rows) > limit else None)

    def forget(self, before: float) -> int:
        """Delete lines from before a moment, in seconds; how many they were."""
        with self._database.writing() as connection:
            return connection.execute(delete(audit).where(audit.c.moment < before)).rowcount
