"""All that the service keeps, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import text

from flanrec.data import Dataset
from flanrec.errors import StoreError
from flanrec.serving.store.cases import Cases
from flanrec.serving.store.database import Database
from flanrec.serving.store.events import Events, Past, Window, pasts
from flanrec.serving.store.importing import take_in
from flanrec.serving.store.items import Items, item_revision
from flanrec.serving.store.keys import Keys
from flanrec.serving.store.migrating import migrate, tables_revision
from flanrec.serving.store.shown import ShownLists
from flanrec.serving.store.trail import Trace, Trail
from flanrec.serving.store.users import Users, attributes_of


class Known(NamedTuple):
    """What the store knows of some users at one moment.

    Attributes
    ----------
    revision
        Of the items.
    attributes, pasts
        By user id, of all that were asked for; empty for one who is not known.
    """

    revision: int
    attributes: dict[str, dict[str, Any]]
    pasts: dict[str, Past]


class Store:
    """Users, items, events, lists shown, keys, an audit log, and cases for review.

    Parameters
    ----------
    database
        With tables of the newest revision.

    Attributes
    ----------
    users, items, events, shown, keys, trail, cases
        What they say. Each method is one transaction.

    Examples
    --------
    >>> import tempfile
    >>> from flanrec.serving.store import Event
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = Store.open(f"{folder}/store.db")
    ...     store.events.add([Event("7", "Alien", 1.0), Event("7", "Alien", 1.0)])
    ...     store.close()
    [True, False]
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.users = Users(database)
        self.items = Items(database)
        self.events = Events(database)
        self.shown = ShownLists(database)
        self.keys = Keys(database)
        self.trail = Trail(database)
        self.cases = Cases(database)

    @classmethod
    def open(cls, address: str | Path, *, new: bool = True) -> Store:
        """The store of an address, its tables made or brought to the newest revision where they have to be.

        Parameters
        ----------
        new
            Whether it may be a new one; otherwise an address without a store is refused, and nothing is made there.

        Raises
        ------
        SettingsError
            The address is malformed.
        StoreError
            The database cannot be used, is of a newer version, or has no store where it should.
        """
        database = Database(address)
        if not new and not (database.is_there and tables_revision(database)):
            database.close()
            raise StoreError(f"there is no store at {database}; give the --store of flanrec serve")
        migrate(database)
        return cls(database)

    def known(self, user_ids: Sequence[str], window: Window | None = None) -> Known:
        """What answers about some users rest on, all as of one moment.

        Parameters
        ----------
        window
            How much of what they did; None for all.
        """
        asked = list(dict.fromkeys(user_ids))
        with self.database.reading() as connection:
            done = pasts(connection, asked, window)
            return Known(item_revision(connection), attributes_of(connection, asked), done)

    def take_in(self, model: str, dataset: Dataset, by: Trace) -> bool:
        """Add what a model knows; see `flanrec.serving.store.importing.take_in`."""
        return take_in(self.database, model, dataset, by)

    def check(self) -> None:
        """Raise StoreError where the database does not answer."""
        with self.database.reading() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close all connections."""
        self.database.close()
