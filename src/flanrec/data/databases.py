"""Reading a table or a query of a PostgreSQL database, by ADBC: Arrow batches, no row as a Python object.

The server is only read from: all statements run in one READ ONLY transaction, so that they see one state of it.

A table has no order, and flanrec breaks ties of time by the order of rows. So the rows of a table are sorted by its
primary key, or where it has none by all its columns from left to right, texts by code point and nulls first. A query
with ORDER BY keeps its own order; one without is sorted like a table without primary key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import date
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import polars as pl
import polars.selectors as cs

from flanrec.data.addresses import DatabaseTable
from flanrec.data.columns import whole_numbers
from flanrec.errors import DataError, SettingsError

if TYPE_CHECKING:
    import pyarrow

READ_ONLY = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
PRIMARY_KEY = (
    "SELECT a.attname::text FROM pg_index AS i "
    "JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) "
    "WHERE i.indisprimary AND i.indrelid = to_regclass($1) ORDER BY array_position(i.indkey::int2[], a.attnum)"
)
CONNECT_SECONDS = 10
DAY = 24 * 60 * 60 * 1_000_000  # microseconds
EPOCH = date(1970, 1, 1).toordinal()

# How columns are asked for whose type would arrive narrower, padded, or in a form that is not a number.
CASTS = {
    "smallint": "::bigint",
    "integer": "::bigint",
    "real": "::text::float8",  # by way of text, so that 4.3 stays 4.3
    "numeric": "::text",
    "money": "::numeric::text",
    "character": "::text",
}
DECIMALS = {"numeric", "money"}

_CONNECT_REMEDY = (
    "Check host, port, database and user. A password is taken from PGPASSWORD, ~/.pgpass or a connection service; "
    "one that is in the address needs its special characters percent-encoded"
)
_REMEDIES = {
    "42P01": "Check the name and its schema: table= takes it as it was created, upper and lower case differ",
    "42501": "Have the user granted USAGE on the schema and SELECT on the table, or select by query= what it may read",
    "42703": "Check the names of the columns in query=",
    "42601": "Give one SELECT after query=; nothing else is run",
    "25006": "Give one SELECT after query= that changes nothing",
    "0A000": "Give one SELECT after query= that changes nothing",
}
_READ_REMEDY = "Run the same SELECT in psql to see what is wrong with it"


def read_database(address: DatabaseTable) -> pl.DataFrame:
    """Read the table or query of an address into columns of whole numbers, floats, booleans, texts, times and lists.

    NUMERIC and money become Int64 where all values are whole numbers and Float64 elsewhere, smaller numbers take the
    64-bit type, times with a zone are in UTC, infinite times are null, and types without a counterpart, such as uuid
    and json, become the text that the server writes for them.

    Raises
    ------
    SettingsError
        The extra ``postgresql`` is not installed.
    DataError
        The server cannot be reached or refuses the user; the table or a column does not exist or may not be read; the
        query is no SELECT, or gives two columns one name.
    """
    adbc = _driver()
    try:
        connection = adbc.connect(_uri(address))
    except adbc.Error as error:
        raise _problem(address, error, _CONNECT_REMEDY) from error
    try:
        with connection, connection.cursor() as cursor:
            return _interruptible(cursor, lambda: _read(cursor, address))
    except adbc.Error as error:
        raise _problem(address, error, _REMEDIES.get(error.sqlstate or "", _READ_REMEDY)) from error


def _driver() -> Any:
    try:
        import adbc_driver_postgresql.dbapi
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            f"{error.name} is not installed, which reading PostgreSQL needs: pip install 'flanrec[postgresql]'."
        ) from error
    return adbc_driver_postgresql.dbapi


def _uri(address: DatabaseTable) -> str:
    """The address for libpq, each value encoded anew: what libpq finds well formed it does not quote in its errors."""
    parameters = {**address.parameters, "client_encoding": "UTF8"}  # what the driver takes all text to be
    parameters.setdefault("fallback_application_name", "flanrec")
    if "PGCONNECT_TIMEOUT" not in os.environ:
        parameters.setdefault("connect_timeout", str(CONNECT_SECONDS))  # libpq's own default is to wait for ever
    return "postgresql:///?" + "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())


def _interruptible(cursor: Any, work: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    """Work in another thread: in the main one the driver takes Ctrl-C for itself, and tells it as a failed query."""
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(work)
        try:
            while not job.done():
                wait((job,), timeout=1)  # where polars is imported, a wait without limit does not hear Ctrl-C
        except KeyboardInterrupt:
            while not job.done():  # again and again: between two statements there is nothing to cancel
                cursor.adbc_cancel()
                wait((job,), timeout=0.1)
            raise
        return job.result()


def _read(cursor: Any, address: DatabaseTable) -> pl.DataFrame:
    cursor.execute(READ_ONLY)
    keys: list[str] = []
    source = f"{address.query}\n"  # a comment at its end must not swallow what is written after it
    if address.table:
        name = ".".join(_quoted(part) for part in address.table)
        source = f"SELECT * FROM {name}"
    schema: pyarrow.Schema = cursor.adbc_execute_schema(source)
    names = list(schema.names)
    if not names:
        raise DataError(f"{address}: this gives no columns. Give one SELECT after query=, or a table that has columns.")
    if len(set(names)) < len(names):
        twice = next(one for one in names if names.count(one) > 1)
        raise DataError(f"{address}: column {twice!r} is there more than once. Rename one with AS.")
    if address.table:
        cursor.execute(PRIMARY_KEY, (name,))
        keys = _fetched(cursor).to_series().to_list()
    types = _types(cursor, source, names)
    columns = [_selected(field, kind) for field, kind in zip(schema, types, strict=True)]
    cursor.execute(f"SELECT {', '.join(columns)} FROM ({source}) AS given")
    frame = _tidied(_fetched(cursor), [one for one, kind in zip(names, types, strict=True) if kind in DECIMALS])
    if keys:
        return frame.sort(keys)
    if re.search(r"\border\s+by\b", address.query, re.IGNORECASE):
        return frame
    return frame.sort(pl.all())


def _fetched(cursor: Any) -> pl.DataFrame:
    return cast(pl.DataFrame, pl.from_arrow(cursor.fetch_arrow_table()))


def _types(cursor: Any, source: str, names: Sequence[str]) -> list[str]:
    """The server's name for each column's type. By its limit of zero rows the query is planned, not computed."""
    asked = ", ".join(f'pg_typeof(given.{_quoted(name)})::text AS "{place}"' for place, name in enumerate(names))
    nothing = f"SELECT * FROM ({source}) AS rows_of_it LIMIT 0"
    cursor.execute(f"SELECT {asked} FROM (SELECT 1) AS one_row LEFT JOIN ({nothing}) AS given ON true")
    return [str(kind) for kind in _fetched(cursor).row(0)]


def _selected(field: pyarrow.Field, kind: str) -> str:
    """A column as it is asked for."""
    column = f"given.{_quoted(field.name)}"
    if kind in CASTS:
        change = CASTS[kind]
    elif _is_plain(field.type):
        change = ""
    else:
        change = "::text[]" if kind.endswith("[]") else "::text"
    return f"{column}{change} AS {_quoted(field.name)}"


def _is_plain(kind: pyarrow.DataType) -> bool:
    """Whether polars and the rest of flanrec take the type as it arrives; a domain arrives as the type it is over."""
    from pyarrow import types

    if types.is_list(kind):
        return not types.is_list(kind.value_type) and _is_plain(kind.value_type)
    known = (types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_timestamp, types.is_date)
    return any(test(kind) for test in known)


def _quoted(name: str) -> str:
    """A name as an identifier of SQL.

    >>> print(_quoted('a "b"; drop table c'))
    "a ""b""; drop table c"
    """
    return '"' + name.replace('"', '""') + '"'


def _tidied(frame: pl.DataFrame, decimals: Sequence[str]) -> pl.DataFrame:
    return frame.with_columns(
        *(_within_calendar(pl.col(name), 1) for name in frame.select(cs.date()).columns),
        *(_within_calendar(pl.col(name), DAY) for name in frame.select(cs.datetime()).columns),
        *(_numbers(frame[name]) for name in decimals),
    )


def _within_calendar(time: pl.Expr, day: int) -> pl.Expr:
    """Null in place of infinity and of what is outside the years 1 to 9999; `day` in units of the stored number."""
    days = time.to_physical().cast(pl.Int64) // day + EPOCH
    return pl.when(days.is_between(date.min.toordinal(), date.max.toordinal())).then(time)


def _numbers(texts: pl.Series) -> pl.Series:
    """Int64 if all are whole numbers, so that ids keep each digit; text if some are too long; else Float64."""
    numbers = whole_numbers(texts)
    whole = texts.null_count() < texts.len() and bool(texts.str.contains("^-?[0-9]+$").all())
    return numbers if whole else texts.cast(pl.Float64)


def _problem(address: DatabaseTable, error: Exception, remedy: str) -> DataError:
    said = re.search(r"(?:ERROR:|Failed to connect:)\s+(.*?)\s*(?:\n\n|\nLINE |\. SQLSTATE|\Z)", str(error), re.DOTALL)
    words = " ".join((said[1] if said else str(error)).split())
    return DataError(f"{address}: {words}{'' if words.endswith(('.', '?')) else '.'} {remedy}.")
