"""Connections to the store's database, and transactions on them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import URL, ColumnElement, Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.sql.dml import Insert

from flanrec.errors import SettingsError, StoreError

_BUSY_SECONDS = 15
_WRITES = "flanrec_writes"
_TURNS = 0x666C616E
"""Tells the locks of `Database.wait_turn` from those that others take in the same PostgreSQL."""
_FORMS = "give a file, sqlite:///FILE or postgresql://USER@HOST/NAME"


class Database:
    """A SQLite file or a PostgreSQL database.

    SQLite writes ahead (WAL), so that readers and a writer do not wait for each other, and flushes every commit to the
    disk. A transaction that writes takes the file's only write lock when it begins, so it never fails half way because
    another process was faster; it waits for that lock instead.

    Parameters
    ----------
    address
        A path of a SQLite file, ``sqlite:///...``, or ``postgresql://user@host/name``.

    Raises
    ------
    SettingsError
        The address is malformed, or of another kind of database.
    """

    def __init__(self, address: str | Path) -> None:
        self.url = _url(address)
        self.kind = self.url.get_backend_name()
        self.engine = _engine(self.url)

    def __str__(self) -> str:
        """The address without its password."""
        return self.url.render_as_string(hide_password=True)

    @property
    def is_there(self) -> bool:
        """Whether there is such a file; a server is always taken to be there, and says so itself where it is not."""
        return self.kind != "sqlite" or Path(str(self.url.database)).is_file()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of everything and changes nothing.

        Raises
        ------
        StoreError
            The database cannot be reached, or stays locked.
        """
        with self._told(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is kept whole, and on the disk when the block ends, or not at all.

        Raises
        ------
        StoreError
            The database cannot be reached, or stays locked.
        """
        with self._told(), self.engine.connect() as connection:
            writer = connection.execution_options(**{_WRITES: True})
            with writer.begin():
                yield writer

    def wait_turn(self, connection: Connection, number: int, *, alone: bool) -> None:
        """Have a writing transaction wait until it may go on, with others of its kind or `alone`, until it ends.

        SQLite lets one write at a time anyway.

        Parameters
        ----------
        number
            Of what waits for each other.
        """
        if self.kind == "postgresql":
            lock = func.pg_advisory_xact_lock if alone else func.pg_advisory_xact_lock_shared
            connection.execute(select(lock(_TURNS, number)))

    def insert(self, table: Any) -> Any:
        """An INSERT of this kind of database, which knows ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
        if self.kind == "sqlite":
            from sqlalchemy.dialects.sqlite import insert as sqlite_insert

            found: Insert = sqlite_insert(table)
            return found
        from sqlalchemy.dialects.postgresql import insert as postgresql_insert

        return postgresql_insert(table)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as problem:
            # The statement and its values stay out of the message: they are what people wrote.
            raise StoreError(f"the store {self} cannot be used: {_first_line(problem)}") from None


def is_new(connection: Connection, insert: Any, key: ColumnElement[Any]) -> bool:
    """Insert a row unless one is in its way, and say which it was; drivers count rows only for UPDATE and DELETE."""
    return connection.execute(insert.on_conflict_do_nothing().returning(key)).first() is not None


def _url(address: str | Path) -> URL:
    text = str(address)
    if "://" not in text:
        return URL.create("sqlite", database=str(Path(text).expanduser()))
    try:
        url = make_url(text)
        kind = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise SettingsError(f"the store's address is malformed; {_FORMS}") from None
    if kind == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if kind == "sqlite" and url.database and url.database != ":memory:":
        return url
    raise SettingsError(f"a store in {'memory' if kind == 'sqlite' else kind} is not supported; {_FORMS}")


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        folder = Path(str(url.database)).parent
        if not folder.is_dir():
            raise SettingsError(f"there is no folder {folder} for the store; make it, or give another file")
        engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    try:
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": _BUSY_SECONDS})
    except ModuleNotFoundError:
        raise SettingsError("a store in PostgreSQL needs psycopg: pip install 'flanrec[postgresql]'") from None


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # sqlite3 would begin transactions of its own, late and without the write lock; `_begin_sqlite` does it instead.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _first_line(problem: DBAPIError) -> str:
    return str(problem.orig).strip().splitlines()[0] if str(problem.orig).strip() else type(problem.orig).__name__
