"""Items in the store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, select, update

from flanrec.errors import SettingsError
from flanrec.serving.store.database import Database, is_new
from flanrec.serving.store.opening import open_case, suspicious_text
from flanrec.serving.store.records import Case, Item, Page
from flanrec.serving.store.tables import items, revisions
from flanrec.serving.store.trail import Trace, note


class Changes(NamedTuple):
    """What happened to items since a revision.

    Attributes
    ----------
    revision
        Up to which.
    put
        Items as they are, that were created or changed.
    deleted
        Ids.
    """

    revision: int
    put: tuple[Item, ...]
    deleted: tuple[str, ...]


class Items:
    """The catalogue as the service has it; every change has a revision of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, item_id: str) -> Item | None:
        """An item that was not deleted; None for none."""
        with self._database.reading() as connection:
            return self._get(connection, item_id)

    def known(self, item_ids: Iterable[str]) -> set[str]:
        """Those of some ids that items have which were not deleted."""
        wanted = list(dict.fromkeys(item_ids))
        found: set[str] = set()
        with self._database.reading() as connection:
            for first in range(0, len(wanted), _TOGETHER):
                some = items.c.item_id.in_(wanted[first : first + _TOGETHER])
                found |= set(connection.execute(select(items.c.item_id).where(some, ~items.c.deleted)).scalars())
        return found

    def put(self, given: Sequence[Item], by: Trace) -> list[bool]:
        """Create or replace items, all or none; of each whether there was none before.

        For one whose text looks hostile a case is opened, unless it is put as it was when somebody decided to keep it.
        """
        found = [suspicious_text(item) for item in given]  # before anybody waits for the lock
        with self._database.writing() as connection:
            revision = next_revision(self._database, connection)
            return [self._put(connection, item, revision, case, by) for item, case in zip(given, found, strict=True)]

    def patch(self, item_id: str, changes: dict[str, Any], by: Trace) -> Item | None:
        """Change some fields of an item, attributes merged and those that are None away; None for no such item.

        A case is opened as by `put`.

        Raises
        ------
        SettingsError
            It would be left without a title and a text.
        """
        with self._database.writing() as connection:
            one = select(items).where(items.c.item_id == item_id, ~items.c.deleted).with_for_update()
            row = connection.execute(one).first()
            if row is None:
                return None
            before = _item(row)
            merged = {**before.attributes, **changes.get("attributes", {})}
            told = {name: value for name, value in merged.items() if value is not None}
            item = replace(before, **{**changes, "attributes": told})
            if not item.title.strip() and not item.text.strip():
                raise SettingsError("text: an item without a title keeps a text; give one")
            values = item_values(item, next_revision(self._database, connection))
            connection.execute(update(items).where(items.c.item_id == item_id).values(values))
            note(connection, by, "change item", item_id)
            case = suspicious_text(item)
            if case is not None:
                open_case(self._database, connection, case, unless_kept=item == before)
        return item

    def delete(self, item_id: str, by: Trace) -> bool:
        """Delete an item with its texts; whether there was one. Events keep its id."""
        with self._database.writing() as connection:
            return delete_item(self._database, connection, item_id, by)

    def page(
        self, after: str | None = None, limit: int = 100, containing: str = "", *, texts: bool = False
    ) -> Page[Item]:
        """The items by id.

        Parameters
        ----------
        containing
            Words in the title, in any letter case (SQLite: of the letters a to z).
        texts
            Look for each word in the text too.
        """
        query = select(items).where(~items.c.deleted).order_by(items.c.item_id).limit(limit + 1)
        if after is not None:
            query = query.where(items.c.item_id > after)
        for word in containing.split():
            there = items.c.title.icontains(word, autoescape=True)
            query = query.where(there | items.c.text.icontains(word, autoescape=True) if texts else there)
        with self._database.reading() as connection:
            found = [_item(row) for row in connection.execute(query)]
        return Page(tuple(found[:limit]), found[limit - 1].item_id if len(found) > limit else None)

    def revision(self) -> int:
        """Of the newest change; 0 for none."""
        with self._database.reading() as connection:
            return item_revision(connection)

    def changes(self, since: int) -> Changes:
        """All changes with a later revision than the given one."""
        query = select(items).where(items.c.revision > since).order_by(items.c.revision, items.c.item_id)
        with self._database.reading() as connection:
            revision = item_revision(connection)
            rows = connection.execute(query).all()
        put = tuple(_item(row) for row in rows if not row.deleted)
        return Changes(revision, put, tuple(row.item_id for row in rows if row.deleted))

    def deleted(self, since: int) -> tuple[int, tuple[str, ...]]:
        """The newest revision, and the ids of `changes` that are deleted."""
        query = select(items.c.item_id).where(items.c.revision > since, items.c.deleted)
        with self._database.reading() as connection:
            return item_revision(connection), tuple(connection.execute(query).scalars())

    def _put(self, connection: Connection, item: Item, revision: int, case: Case | None, by: Trace) -> bool:
        before = None if case is None else self._get(connection, item.item_id)
        values = item_values(item, revision)
        fresh = self._database.insert(items).values(item_id=item.item_id, **values)
        created = is_new(connection, fresh, items.c.item_id)
        if not created:
            again = update(items).where(items.c.item_id == item.item_id)
            created = connection.execute(again.where(items.c.deleted).values(values)).rowcount == 1
            if not created:
                connection.execute(again.values(values))
        note(connection, by, "create item" if created else "replace item", item.item_id)
        if case is not None:
            open_case(self._database, connection, case, unless_kept=item == before)
        return created

    def _get(self, connection: Connection, item_id: str) -> Item | None:
        row = connection.execute(select(items).where(items.c.item_id == item_id, ~items.c.deleted)).first()
        return None if row is None else _item(row)


_NAME = "items"
_TOGETHER = 500


def item_revision(connection: Connection) -> int:
    """Of the newest change of items; 0 for none."""
    found = connection.execute(select(revisions.c.revision).where(revisions.c.name == _NAME))
    return found.scalar_one_or_none() or 0


def next_revision(database: Database, connection: Connection) -> int:
    connection.execute(database.insert(revisions).values(name=_NAME, revision=0).on_conflict_do_nothing())
    grown = update(revisions).where(revisions.c.name == _NAME).values(revision=revisions.c.revision + 1)
    return int(connection.execute(grown.returning(revisions.c.revision)).scalar_one())


def delete_item(database: Database, connection: Connection, item_id: str, by: Trace) -> bool:
    """Delete an item with its texts, in the transaction of somebody else; whether there was one."""
    values = item_values(Item(item_id, ""), next_revision(database, connection)) | {"deleted": True}
    one = update(items).where(items.c.item_id == item_id, ~items.c.deleted)
    if connection.execute(one.values(values)).rowcount == 0:
        return False
    note(connection, by, "delete item", item_id)
    return True


def item_values(item: Item, revision: int) -> dict[str, Any]:
    return {
        "title": item.title,
        "text": item.text,
        "category": list(item.category),
        "year": item.year,
        "attributes": dict(item.attributes),
        "deleted": False,
        "revision": revision,
    }


def _item(row: Row[Any]) -> Item:
    return Item(row.item_id, row.title, row.text, tuple(row.category), row.year, row.attributes)
