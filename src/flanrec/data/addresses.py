"""Where a table is: in a file, or in a PostgreSQL database that an address names.

The address is libpq's, with what to read after the question mark::

    postgresql://reader@db.example:5432/shop?table=sales.events
    postgresql://reader@db.example/shop?sslmode=require&query=SELECT user_id, item_id, bought_at FROM sales.events

No message shows an address as it was given: a password may be in it, or, where it is written wrong, anywhere in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote_to_bytes

from flanrec.errors import SettingsError

SCHEMES = ("postgresql", "postgres")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_SHOWN = {"host", "hostaddr", "port", "dbname", "user", "service", "table", "query"}
_NAME = re.compile(r'"(?:[^"]|"")+"|[^".][^.]*')
_FORM = "postgresql://USER@HOST:PORT/DATABASE?table=SCHEMA.NAME"


@dataclass(frozen=True)
class DatabaseTable:
    """A table of a PostgreSQL database, or what a query gives.

    Attributes
    ----------
    parameters
        What libpq connects with, under its names. The password may be among them.
    table
        The table's name, after that of its schema if one was given; empty for a query.
    query
        One SELECT; empty for a table.
    shown
        The address for messages, without password and the parameters that do not say where the table is.
    """

    parameters: Mapping[str, str] = field(repr=False)
    table: tuple[str, ...]
    query: str
    shown: str

    def __str__(self) -> str:
        return self.shown

    @property
    def name(self) -> str:
        """A short name for reports: the table's, or for a query the database's."""
        return self.table[-1] if self.table else self.parameters.get("dbname", "query")


@dataclass(frozen=True)
class TableAddress:
    """Where a table is. As a text it can be shown: there is no password in it.

    Examples
    --------
    >>> str(TableAddress.parse("postgresql://me:secret@db/shop?table=events")), TableAddress.parse("orders.csv").name
    ('postgresql://me@db/shop?table=events', 'orders')
    """

    place: Path | DatabaseTable

    @classmethod
    def parse(cls, given: str | Path | TableAddress) -> TableAddress:
        """The address in a text; a path stays one.

        Raises
        ------
        SettingsError
            It is the address of a database that is not PostgreSQL, or it is not written as one must be.
        """
        if isinstance(given, TableAddress):
            return given
        text = str(given)
        scheme = _SCHEME.match(text)
        if scheme is None:
            return cls(Path(given))
        if scheme[1] not in SCHEMES:
            raise SettingsError(
                f"tables are not read from {scheme[1]}://. Give the path of a file, or a PostgreSQL address: {_FORM}"
            )
        rest = text[scheme.end() :]
        if not rest.startswith("/"):
            raise SettingsError(
                f"{scheme[1]}:/ lacks a slash, as a Path always does: give the address as text, {_FORM}"
            )
        return cls(_database_table(rest[1:]))

    def __str__(self) -> str:
        return str(self.place)

    @property
    def name(self) -> str:
        """A short name for reports: the file's without suffix, or the table's."""
        return self.place.stem if isinstance(self.place, Path) else self.place.name


def _database_table(address: str) -> DatabaseTable:
    """Read what stands behind ``postgresql://``."""
    where, _, asked = address.partition("?")
    server, _, database = where.partition("/")
    if "@" in database or server.count("@") > 1:
        raise _malformed("the user and the password are not told from the host. In them write @ as %40 and / as %2F")
    credentials, _, hosts = server.rpartition("@")
    user, _, password = credentials.partition(":")
    host, port = _hosts(hosts)
    found = {"user": user, "password": password, "host": host, "port": port, "dbname": database}
    parameters = {name: _decoded(value) for name, value in found.items() if value}
    shown = []
    for part in asked.split("&") if asked else ():
        name, _, value = part.partition("=")
        if not re.fullmatch("[a-z_]+", name):
            raise _malformed(
                "what follows the first question mark is not name=value&name=value. In a value write & as %26, in a "
                "password write ? as %3F"
            )
        parameters[name] = _decoded(value)
        if name in _SHOWN:
            shown.append(f"{name}={' '.join(value.split())}")
    table, query = parameters.pop("table", ""), parameters.pop("query", "").strip().rstrip(";").rstrip()
    if bool(table) == bool(query):
        raise _malformed("say what to read, by table=SCHEMA.NAME or by query=SELECT ..., and only one of them")
    visible = f"{user}@{hosts}" if user else hosts
    visible = f"postgresql://{visible}/{database}?{'&'.join(shown)}"
    return DatabaseTable(parameters, _table_name(table) if table else (), query, visible)


def _malformed(problem: str) -> SettingsError:
    return SettingsError(f"the PostgreSQL address is not written as it must be: {problem}. Its form is {_FORM}")


def _hosts(hosts: str) -> tuple[str, str]:
    """Hosts and ports as libpq's parameters have them, with commas between several.

    >>> _hosts("a:1,[::1]:2"), _hosts("a,b"), _hosts("")
    (('a,::1', '1,2'), ('a,b', ''), ('', ''))
    """
    names, ports = [], []
    for one in hosts.split(","):
        found = re.fullmatch(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::([0-9]*))?", one)
        if found is None:
            raise _malformed(
                "a host is followed by something that is no port number. In a password write : as %3A and ? as %3F"
            )
        names.append(found[1] or found[2] or "")
        ports.append(found[3] or "")
    return ",".join(names), ",".join(ports) if any(ports) else ""


def _decoded(value: str) -> str:
    """The text that a percent-encoded one stands for.

    >>> _decoded("a%20b+c"), _decoded("%E4%BD%A0")
    ('a b+c', '你')
    """
    if re.search(r"%(?![0-9A-Fa-f]{2})", value):
        raise _malformed("a % is not followed by two hexadecimal digits. Write % itself as %25")
    try:
        text = unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise _malformed("a percent-encoded text is not UTF-8") from None
    if "\0" in text:
        raise _malformed("there is a zero byte in it")
    return text


def _table_name(given: str) -> tuple[str, ...]:
    """The parts of ``schema.name``; a part with a dot in it stands in double quotes, as in SQL.

    >>> _table_name("events"), _table_name("Sales.Events"), _table_name('"a.b".c')
    (('events',), ('Sales', 'Events'), ('a.b', 'c'))
    """
    parts: list[str] = []
    rest = f".{given}"
    while rest:
        found = _NAME.match(rest, 1) if rest[0] == "." else None
        if found is None or len(parts) == 2:
            raise _malformed(
                f"table={given!r} is not a name. Write NAME or SCHEMA.NAME, and a name that has a dot or begins with a "
                "quote in double quotes"
            )
        quoted = found[0].startswith('"')
        parts.append(found[0][1:-1].replace('""', '"') if quoted else found[0])
        rest = rest[found.end() :]
    return tuple(parts)
