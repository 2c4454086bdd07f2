"""Users in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from flanrec.serving.store.database import Database, is_new
from flanrec.serving.store.opening import without_reporter
from flanrec.serving.store.records import Page, User
from flanrec.serving.store.tables import audit, events, forgotten, reviews, shown, users
from flanrec.serving.store.trail import Trace, note


def attributes_of(connection: Connection, user_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The attributes of some users; none for one who has no row."""
    found = connection.execute(select(users).where(users.c.user_id.in_(user_ids)))
    return {user: {} for user in user_ids} | {row.user_id: row.attributes for row in found}


def deleted_since(connection: Connection, moment: float) -> dict[str, float]:
    """The users who were deleted since a moment, and when, by the audit log."""
    lines = select(audit.c.target, func.max(audit.c.moment)).where(audit.c.action == _DELETED, audit.c.moment >= moment)
    return {row[0]: row[1] for row in connection.execute(lines.group_by(audit.c.target))}


USERS_GO = 1
"""Number of the turn in which lists are kept, and users deleted with theirs."""
_DELETED = "delete user"
_LAST = "\U0010ffff"
"""Sorts behind every character."""


class Users:
    """Users: their attributes, and all that is theirs when they go.

    A user needs no row to have events; one who has events alone is known too.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, user_id: str) -> User | None:
        """A user who has a row or events; None for nobody."""
        with self._database.reading() as connection:
            told = connection.execute(select(users.c.attributes).where(users.c.user_id == user_id)).scalar_one_or_none()
            if told is not None:
                return User(user_id, told)
            seen = connection.execute(select(events.c.number).where(events.c.user_id == user_id).limit(1)).first()
        return User(user_id) if seen else None

    def put(self, user: User, by: Trace) -> bool:
        """Create or replace a user; whether there was none before."""
        with self._database.writing() as connection:
            fresh = self._database.insert(users).values(user_id=user.user_id, attributes=dict(user.attributes))
            created = is_new(connection, fresh, users.c.user_id)
            if not created:
                changed = update(users).where(users.c.user_id == user.user_id)
                connection.execute(changed.values(attributes=dict(user.attributes)))
            note(connection, by, "create user" if created else "replace user", user.user_id)
        return created

    def patch(self, user_id: str, attributes: Mapping[str, Any], by: Trace) -> User | None:
        """Change some attributes, those that are None away; the user as it is then, None for nobody."""
        with self._database.writing() as connection:
            one = select(users.c.attributes).where(users.c.user_id == user_id).with_for_update()
            told = connection.execute(one).scalar_one_or_none()
            if told is None:
                if not connection.execute(select(events.c.number).where(events.c.user_id == user_id).limit(1)).first():
                    return None
                told = {}
            merged = {name: value for name, value in {**told, **attributes}.items() if value is not None}
            kept = self._database.insert(users).values(user_id=user_id, attributes=merged)
            connection.execute(kept.on_conflict_do_update(index_elements=["user_id"], set_={"attributes": merged}))
            note(connection, by, "change user", user_id)
        return User(user_id, merged)

    def delete(self, user_id: str, by: Trace) -> bool:
        """Delete a user with all events, reviews and lists shown to them; whether there was something to delete.

        The id alone is kept, among those whom no model may bring back, and in the audit log. Cases that they reported
        stay, without them and without their words. Lists that are on their way to them are not kept any more.
        """
        with self._database.writing() as connection:
            self._database.wait_turn(connection, USERS_GO, alone=True)
            gone = sum(
                connection.execute(delete(table).where(table.c.user_id == user_id)).rowcount
                for table in (users, events, reviews, shown)
            )
            gone += without_reporter(connection, user_id)
            if not gone:
                return False
            connection.execute(self._database.insert(forgotten).values(user_id=user_id).on_conflict_do_nothing())
            note(connection, by, _DELETED, user_id)
        return True

    def page(self, after: str | None = None, limit: int = 100) -> Page[User]:
        """The users who have a row, by id."""
        query = select(users).order_by(users.c.user_id).limit(limit + 1)
        if after is not None:
            query = query.where(users.c.user_id > after)
        with self._database.reading() as connection:
            found = [User(user_id, told) for user_id, told in connection.execute(query)]
        return Page(tuple(found[:limit]), found[limit - 1].user_id if len(found) > limit else None)

    def forgotten(self) -> set[str]:
        """Ids of the users who were deleted."""
        with self._database.reading() as connection:
            return set(connection.execute(select(forgotten.c.user_id)).scalars())

    def beginning(self, words: str, limit: int = 20) -> list[str]:
        """The first ids, of users with a row or with events, that begin like this."""
        found: set[str] = set()
        with self._database.reading() as connection:
            for column in (users.c.user_id, events.c.user_id):
                query = select(column).distinct().order_by(column).limit(limit)
                if words:
                    # An index on ids serves this, and no LIKE in every collation.
                    query = query.where(column >= words, column < words + _LAST)
                found |= set(connection.execute(query).scalars())
        return sorted(found)[:limit]
