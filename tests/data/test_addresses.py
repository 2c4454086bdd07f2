"""Addresses of tables: what libpq would make of them, what is refused, and what is never shown."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.data.addresses import DatabaseTable, TableAddress
from flanrec.data.readers import read_table
from flanrec.errors import SettingsError


def table(address: str) -> DatabaseTable:
    place = TableAddress.parse(address).place
    assert isinstance(place, DatabaseTable)
    return place


@pytest.mark.parametrize(
    ("address", "parameters"),
    [
        ("postgresql://?table=t", {}),
        ("postgres://db.example?table=t", {"host": "db.example"}),
        ("postgresql://me@db:5433/shop?table=t", {"user": "me", "host": "db", "port": "5433", "dbname": "shop"}),
        ("postgresql://me:a:b%40@db/?table=t", {"user": "me", "password": "a:b@", "host": "db"}),
        ("postgresql://a:1,[::1]:2/d?table=t", {"host": "a,::1", "port": "1,2", "dbname": "d"}),
        ("postgresql://%2Frun%2Fpg/d?table=t", {"host": "/run/pg", "dbname": "d"}),
        ("postgresql:///d?host=/pg&sslmode=require&table=t", {"dbname": "d", "host": "/pg", "sslmode": "require"}),
        ("postgresql://?service=shop&table=t", {"service": "shop"}),
    ],
)
def test_an_address_is_read_as_libpq_reads_it(address: str, parameters: dict[str, str]) -> None:
    assert table(address).parameters == parameters


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("events", ("events",)),
        ("Sales.Events", ("Sales", "Events")),
        ("a b.c;d", ("a b", "c;d")),
        ('"a.b"."say ""hi"""', ("a.b", 'say "hi"')),
        ('we"ird', ('we"ird',)),
        ("caf%C3%A9", ("café",)),
    ],
)
def test_a_table_is_named_as_it_was_created(written: str, parts: tuple[str, ...]) -> None:
    assert table(f"postgresql://db?table={written}").table == parts


def test_a_query_stands_as_it_is_written_without_its_semicolon() -> None:
    asked = table("postgresql://db/shop?query= SELECT a+b AS c\nFROM t WHERE x = '%25#%26' ; &sslmode=require")
    assert (asked.query, asked.table, asked.name) == ("SELECT a+b AS c\nFROM t WHERE x = '%#&'", (), "shop")
    assert str(asked) == "postgresql://db/shop?query=SELECT a+b AS c FROM t WHERE x = '%25#%26' ;"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("postgresql://me:secret@db/shop", "table=SCHEMA.NAME or by query="),
        ("postgresql://me:secret@db/shop?table=t&query=SELECT 1", "only one of them"),
        ("postgresql://me:sec@ret@db/shop?table=t", "@ as %40"),
        ("postgresql://me:sec/ret@db/shop?table=t", "/ as %2F"),
        ("postgresql://me:sec?ret@db/shop?table=t", "as %3F"),
        ("postgresql://me:12?secret@db/shop?table=t", "& as %26"),
        ("postgresql://me:secret%zz@db/shop?table=t", "% itself as %25"),
        ("postgresql://me:secret%00@db/shop?table=t", "zero byte"),
        ("postgresql://me:secret%ff@db/shop?table=t", "not UTF-8"),
        ("postgresql://me:secret@db:five/shop?table=t", "no port number"),
        ("postgresql://me:secret@db/shop?table=a.b.c", "SCHEMA.NAME"),
        ('postgresql://me:secret@db/shop?table="a', "double quotes"),
        ("postgresql://me:secret@db/shop?query=SELECT a & 1", "& as %26"),
        ("postgresql:/me:secret@db/shop?table=t", "lacks a slash"),
        ("mysql://me:secret@db/shop?table=t", "not read from mysql://"),
        ("POSTGRESQL://me:secret@db/shop?table=t", "not read from POSTGRESQL://"),
    ],
)
def test_a_malformed_address_is_refused_without_its_password(address: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        read_table(address)
    assert message in str(error.value)
    assert "sec" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_path_has_lost_a_slash_and_is_refused_rather_than_guessed_at() -> None:
    with pytest.raises(SettingsError, match="give the address as text"):
        read_table(Path("postgresql://me@db/shop?table=t"))


def test_paths_of_files_stay_paths() -> None:
    for given_path in ("orders.csv", "C:\\data\\orders.csv", "data/a:b.csv", Path("x") / "orders.tsv"):
        address = TableAddress.parse(given_path)
        assert address.place == Path(given_path)
        assert str(address) == str(given_path)
    assert TableAddress.parse("data/orders.csv").name == "orders"
    assert TableAddress.parse(TableAddress.parse("orders.csv")) == TableAddress.parse("orders.csv")


text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(user=text, password=text.map(lambda end: f"S3cret{end}"), name=text, schema=text)
def test_any_encoded_parts_come_back_and_the_password_is_not_shown(
    user: str, password: str, name: str, schema: str
) -> None:
    quoted = ".".join(f'"{part}"' for part in (schema.replace('"', '""'), name.replace('"', '""')))
    written = (quote(part, safe="") for part in (user, password, quoted))
    address = TableAddress.parse("postgresql://{}:{}@db?table={}".format(*written))
    assert isinstance(address.place, DatabaseTable)
    assert (address.place.parameters["user"], address.place.parameters["password"]) == (user, password)
    assert address.place.table == (schema, name)
    assert "S3cret" not in f"{address} {address!r} {address.name}"
