"""Tables of a real PostgreSQL server: what arrives, and in which order."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from postgresql_server import identifier

from flanrec.data import BadRowsError, Dataset, load_interactions, load_items, read_table
from flanrec.errors import DataError

if TYPE_CHECKING:
    from postgresql_server import Database

EVENTS = "id bigserial PRIMARY KEY, user_id bigint, item_id text, timestamp timestamptz, rating numeric(2,1)"
ITEMS = "item_id text PRIMARY KEY, title text, text varchar(40), category text[], year integer"


@pytest.fixture
def events() -> pl.DataFrame:
    """Twelve events of three users; every moment has several, so that their order is that of the rows."""
    return pl.DataFrame(
        {
            "user_id": [1, 2, 3] * 4,
            "item_id": ["b", "a", "c", "a", "c", "b", "d", "d", "a", "c", "b", "d"],
            "timestamp": [f"2024-05-01T12:00:0{row // 6}Z" for row in range(12)],
            "rating": [4.5, None, 1.0] * 4,
        }
    )


@pytest.fixture
def items() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "item_id": ["a", "b", "c", "d"],
            "title": ["Ångström", 'Say "hi"', "Ünder, a|b", "你好"],
            "text": ["A text.", None, "x;y", ""],
            "category": [["Drama", "Sci-Fi"], ["Drama"], [], None],
            "year": [1999, None, 2001, 2002],
        }
    )


def read(address: str) -> pl.DataFrame:
    return read_table(address).frame


@pytest.mark.parametrize(
    ("expression", "expected", "dtype"),
    [
        ("7::smallint", 7, pl.Int64),
        ("7::integer", 7, pl.Int64),
        ("9007199254740993::bigint", 9007199254740993, pl.Int64),
        ("4.3::real", 4.3, pl.Float64),
        ("4.3::double precision", 4.3, pl.Float64),
        ("4.3::numeric", 4.3, pl.Float64),
        ("'NaN'::numeric", float("nan"), pl.Float64),
        ("9007199254740993::numeric", 9007199254740993, pl.Int64),
        ("12345678901234567890::numeric(20)", "12345678901234567890", pl.String),
        ("NULL::numeric", None, pl.Float64),
        ("'12.5'::money", 12.5, pl.Float64),
        ("'é'::text", "é", pl.String),
        ("'a'::varchar(5)", "a", pl.String),
        ("'a'::char(5)", "a", pl.String),
        ("true", True, pl.Boolean),
        ("'2024-05-01'::date", date(2024, 5, 1), pl.Date),
        ("'2024-05-01 12:00:00.25'::timestamp", datetime(2024, 5, 1, 12, 0, 0, 250000), pl.Datetime("us")),
        ("'2024-05-01T12:00+02'::timestamptz", datetime(2024, 5, 1, 10, tzinfo=UTC), pl.Datetime("us", "UTC")),
        ("'infinity'::timestamptz", None, pl.Datetime("us", "UTC")),
        ("'-infinity'::date", None, pl.Date),
        ("ARRAY['a', NULL, 'b c']", ["a", None, "b c"], pl.List(pl.String)),
        ("ARRAY[1, 2]::bigint[]", [1, 2], pl.List(pl.Int64)),
        ("ARRAY['00000000-0000-0000-0000-00000000000a'::uuid]", ["00000000-0000-0000-0000-00000000000a"],
         pl.List(pl.String)),
        ("'00000000-0000-0000-0000-00000000000a'::uuid", "00000000-0000-0000-0000-00000000000a", pl.String),
        ("'{\"a\": 1}'::jsonb", '{"a": 1}', pl.String),
        ("'1 day'::interval", "1 day", pl.String),
        ("'10.0.0.1'::inet", "10.0.0.1/32", pl.String),
        ("'12:30'::time", "12:30:00", pl.String),
        ("NULL", None, pl.String),
    ],
)  # fmt: skip
def test_each_type_arrives_with_its_value(
    postgresql: Database, expression: str, expected: object, dtype: pl.DataType
) -> None:
    query = f"SELECT {expression} AS given UNION ALL SELECT NULL ORDER BY 1 NULLS LAST"
    frame = read(postgresql.address(query=query))
    assert frame.schema == {"given": dtype}
    assert str(frame["given"].to_list()) == str(pl.Series([expected, None], dtype=dtype).to_list())  # nan is not nan


def test_types_of_the_database_itself_arrive_as_what_they_are_made_of(database: Database) -> None:
    database.run(
        "CREATE DOMAIN customer AS bigint CHECK (value > 0)",
        "CREATE TYPE mood AS ENUM ('sad', 'happy')",
        "CREATE TABLE people (id customer, feels mood, felt mood[])",
        "INSERT INTO people VALUES (5, 'happy', ARRAY['sad', 'happy']::mood[])",
    )
    assert read(database.address(table="people")).rows() == [(5, "happy", ["sad", "happy"])]


def test_the_data_set_is_the_one_of_the_same_tables_as_csv(
    database: Database, events: pl.DataFrame, items: pl.DataFrame, tmp_path: Path
) -> None:
    database.store("events", events, EVENTS)
    database.store("items", items, ITEMS)
    database.store(
        "reviews", events.select("user_id", "item_id", text="item_id"), "user_id int, item_id text, text text"
    )
    database.store("users", pl.DataFrame({"user_id": [1, 2, 3], "age": [30, 40, None]}), "user_id int, age smallint")
    database.run("UPDATE events SET rating = rating WHERE id < 7")  # moves rows: the table's own order is another now
    events.write_csv(tmp_path / "events.csv")
    events.select("user_id", "item_id", text="item_id").sort(pl.all()).write_csv(tmp_path / "reviews.csv")
    items.with_columns(pl.col("category").list.join("|")).write_csv(tmp_path / "items.csv")
    (tmp_path / "users.csv").write_text("user_id,age\n1,30\n2,40\n3,\n")
    names = ("events", "items", "users", "reviews")
    stored = Dataset.from_files(*(database.address(table=name) for name in names))
    written = Dataset.from_files(*(tmp_path / f"{name}.csv" for name in names))
    assert stored.interactions.rows() == written.interactions.rows()
    assert stored.fingerprint() == written.fingerprint()
    assert stored.name == written.name == "events"


def test_rows_come_in_the_order_of_the_primary_key(database: Database) -> None:
    frame = pl.DataFrame({"b": [2, 1, 2, 1], "a": ["x", "y", "y", "x"]})
    database.store("t", frame, "b integer, a text, PRIMARY KEY (a, b)")
    database.run("CREATE VIEW seen AS SELECT * FROM t")
    assert read(database.address(table="t")).rows() == [(1, "x"), (2, "x"), (1, "y"), (2, "y")]
    assert read(database.address(table="seen")).rows() == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


def test_without_a_primary_key_the_order_is_that_of_the_columns(database: Database) -> None:
    frame = pl.DataFrame({"a": [2, 1, None, 1], "b": ["é", "b", "z", "B"], "c": [["x"], ["y"], [], ["z"]]})
    for name, stored in (("forth", frame), ("back", frame.reverse())):
        database.store(name, stored, "a integer, b text, c text[]")
        assert read(database.address(table=name)).rows() == frame.sort(pl.all()).rows()
        assert read(database.address(query=f"SELECT * FROM {name}")).rows() == frame.sort(pl.all()).rows()


def test_a_query_keeps_the_order_that_it_asks_for(database: Database, events: pl.DataFrame) -> None:
    database.store("events", events, EVENTS)
    frame = read(
        database.address(query="SELECT id, rating, 'x'::char(3) AS c FROM events ORDER BY id % 5 DESC, id -- so")
    )
    assert frame["id"].to_list() == [4, 9, 3, 8, 2, 7, 12, 1, 6, 11, 5, 10]


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ("public", "events"),
        ("Sales", "Events"),
        ("a.b", 'say "hi"'),
        ("x'; --", "events; drop table kept"),
        ("$1", "%s"),
    ],
)
def test_a_name_is_a_name_whatever_is_in_it(database: Database, schema: str, name: str) -> None:
    quoted = [identifier(part) for part in (schema, name)]
    database.run("CREATE TABLE kept (a int)", f"CREATE SCHEMA IF NOT EXISTS {quoted[0]}")
    database.store(".".join(quoted), pl.DataFrame({"a b": [2, 1], '"': [3, 4]}), '"a b" int, """" int PRIMARY KEY')
    table = read_table(database.address(table=".".join(quoted)))
    assert table.frame.rows() == [(2, 3), (1, 4)]
    assert database.ask("SELECT count(*) FROM kept") == [0]


def test_bad_rows_are_reported_by_address_and_place(database: Database, items: pl.DataFrame, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "user_id": [1, None, 2, 3, 1],
            "item_id": ["a", "a", "z", "b", "c"],
            "timestamp": ["2024-05-01", "2024-05-01", "2024-05-01", "1950-01-01", "infinity"],
        }
    )
    database.store("events", frame, EVENTS)
    database.store("items", items, ITEMS)
    address = database.address(table="events")
    shown = f"postgresql://postgres@127.0.0.1:{database.port}/{database.name}?table=events"
    with pytest.raises(BadRowsError) as error:
        Dataset.from_files(address, database.address(table="items"), rejects=tmp_path / "rejects.csv")
    found = error.value.problems
    assert found.select("row", "column", "problem").rows() == [
        (2, "user_id", "missing user id"),
        (3, "item_id", "unknown item"),
        (4, "timestamp", "absurd timestamp"),
        (5, "timestamp", "missing timestamp"),
    ]
    assert found["file"].unique().to_list() == [shown]
    assert f"{shown}, row 2, column user_id" in str(error.value)
    assert pl.read_csv(tmp_path / "rejects.csv")["file"].unique().to_list() == [shown]
    assert Dataset.from_files(address, database.address(table="items"), on_bad_rows="skip").interactions.height == 1


def test_tables_read_alone_take_addresses_too(database: Database, events: pl.DataFrame, items: pl.DataFrame) -> None:
    database.store("events", events, EVENTS)
    database.store("items", items, ITEMS)
    catalogue = load_items(database.address(table="items"))
    assert catalogue["category"].to_list() == [["Drama", "Sci-Fi"], ["Drama"], [], []]
    assert load_interactions(database.address(table="events"), catalogue["item_id"]).height == 12
    with pytest.raises(DataError, match=r"has no column for item_id\. Columns found: a"):
        load_items(database.address(query="SELECT 1 AS a"))


def test_an_empty_table_keeps_its_columns_and_types(database: Database) -> None:
    database.run(f"CREATE TABLE events ({EVENTS})")
    frame = read(database.address(table="events"))
    assert frame.height == 0
    assert frame.schema == {"id": pl.Int64, "user_id": pl.Int64, "item_id": pl.String,
                            "timestamp": pl.Datetime("us", "UTC"), "rating": pl.Float64}  # fmt: skip


def test_text_of_a_database_in_another_encoding_is_understood(
    postgresql: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    postgresql.run("CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'")
    address = postgresql.address(query="SELECT chr(233) AS given").replace("/postgres?", "/latin?")
    assert read(address).item() == "é"
    postgresql.run("DROP DATABASE latin WITH (FORCE)")


def test_a_column_of_many_batches_is_read_whole(database: Database) -> None:
    database.run(
        "CREATE TABLE t AS SELECT 200000 - n AS a, repeat('x', n % 300) AS b FROM generate_series(1, 200000) AS n"
    )
    frame = read(database.address(table="t"))
    assert frame["a"].to_list() == list(range(200_000))
    assert frame["b"].str.len_chars().sum() == sum(n % 300 for n in range(1, 200_001))
