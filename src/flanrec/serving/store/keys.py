"""API keys in the store: never the keys themselves, only what they are recognised by."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import insert, select, update

from flanrec.serving.store.database import Database
from flanrec.serving.store.tables import keys
from flanrec.serving.store.trail import Trace, note


@dataclass(frozen=True)
class StoredKey:
    """What is kept of a key.

    Attributes
    ----------
    key_id
        Its public part.
    name
        For people.
    digest
        SHA-256 of the secret part, 64 hexadecimal digits.
    scopes
        What it may do.
    per_minute
        Requests that it may make.
    created
        In seconds.
    revoked
    """

    key_id: str
    name: str
    digest: str
    scopes: tuple[str, ...]
    per_minute: int
    created: float
    revoked: bool = False


class Keys:
    """Keys by their public part."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, key: StoredKey, by: Trace) -> None:
        """Keep a key."""
        with self._database.writing() as connection:
            connection.execute(insert(keys).values(**{**vars(key), "scopes": list(key.scopes)}))
            note(connection, by, "create key", f"{key.name} ({key.key_id})")

    def get(self, key_id: str) -> StoredKey | None:
        """A key, revoked or not."""
        with self._database.reading() as connection:
            row = connection.execute(select(keys).where(keys.c.key_id == key_id)).first()
        return None if row is None else StoredKey(**{**row._mapping, "scopes": tuple(row.scopes)})

    def all(self) -> list[StoredKey]:
        """All keys, the oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(keys).order_by(keys.c.created, keys.c.key_id)).all()
        return [StoredKey(**{**row._mapping, "scopes": tuple(row.scopes)}) for row in rows]

    def revoke(self, key_id: str, by: Trace) -> bool:
        """End a key; whether there was one to end."""
        with self._database.writing() as connection:
            one = update(keys).where(keys.c.key_id == key_id, ~keys.c.revoked).values(revoked=True)
            if connection.execute(one).rowcount == 0:
                return False
            note(connection, by, "revoke key", key_id)
        return True
