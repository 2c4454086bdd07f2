"""A real PostgreSQL server: how it is reached, what is refused, and what is never done or told."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import polars as pl
import pytest
from postgresql_server import PASSWORD, SECRETS, SUPERUSER

from flanrec.data import read_table
from flanrec.errors import DataError, SettingsError

if TYPE_CHECKING:
    from postgresql_server import Database


def read(address: str) -> pl.DataFrame:
    return read_table(address).frame


def test_an_injected_statement_is_the_name_of_no_table(database: Database) -> None:
    database.run("CREATE TABLE events (a int)")
    for name in ("events; drop table events", "events) TO STDOUT; drop table events; --", 'events"; drop table events'):
        with pytest.raises(DataError, match="does not exist"):
            read_table(database.address(table=name))
    assert database.ask("SELECT count(*) FROM events") == [0]


@pytest.mark.parametrize(
    "query",
    [
        "INSERT INTO t VALUES (2) RETURNING a",
        "WITH gone AS (DELETE FROM t RETURNING a) SELECT * FROM gone",
        "DELETE FROM t",
        "DROP TABLE t",
        "COMMIT",
        "SELECT 1; DROP TABLE t",
        "SELECT 1) TO STDOUT; DROP TABLE t; --",
        "SELECT 1) AS given; DROP TABLE t; --",
        "SELECT writes()",
        "SELECT set_config('transaction_read_only', 'off', false), writes()",
    ],
)
def test_a_query_that_writes_is_refused_and_changes_nothing(database: Database, query: str) -> None:
    database.run(
        "CREATE TABLE t (a int)",
        "INSERT INTO t VALUES (1)",
        "CREATE FUNCTION writes() RETURNS bigint LANGUAGE sql AS 'INSERT INTO t VALUES (3) RETURNING a'",
    )
    with pytest.raises(DataError) as error:
        read_table(database.address(query=query))
    assert str(error.value).startswith(f"postgresql://postgres@127.0.0.1:{database.port}/{database.name}?query=")
    assert database.ask("SELECT a FROM t") == [1]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT a FROM absent", 'relation "absent" does not exist. Check the name'),
        ("SELECT absent FROM pg_class", 'column "absent" does not exist. Check the names of the columns'),
        ("SELEC 1", "Give one SELECT"),
        ("SELECT 1 AS a, 2 AS a", "'a' is there more than once. Rename one"),
        ("SELECT FROM pg_class", "no columns"),
        ("SELECT 1 / (5000 - n) AS a FROM generate_series(1, 9000) AS n", "division by zero. Run the same SELECT"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", "terminating connection"),
    ],
)
def test_what_the_server_refuses_is_said_with_how_to_mend_it(postgresql: Database, query: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        read_table(postgresql.address(query=query))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_user_without_rights_is_told_which_to_ask_for(database: Database) -> None:
    database.run("CREATE TABLE t (a int, b int)")
    database.run("CREATE ROLE reader LOGIN PASSWORD 'pw'", "GRANT SELECT (a) ON t TO reader")
    with pytest.raises(DataError, match=r"permission denied for table t\. Have the user granted"):
        read_table(database.as_user("reader", "pw", table="t"))
    assert read(database.as_user("reader", "pw", query="SELECT a FROM t")).columns == ["a"]
    database.run("DROP OWNED BY reader", "DROP ROLE reader")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda address: address.replace("@127.0.0.1:", "@127.0.0.1:1"), "port"),
        (lambda address: address.replace("@127.0.0.1:", "@no-such-host.invalid:"), "no-such-host.invalid"),
        (lambda address: address.replace(":c0rrect", ":wrong"), "password authentication failed"),
        (lambda address: address.replace("/postgres?", "/absent?"), 'database "absent" does not exist'),
        (lambda address: f"{address}&bogus=1", "bogus"),
        (lambda address: f"{address}&sslmode=require", "SSL"),
        (lambda address: f"{address}&table=absent".replace("table=pg_class&", ""), '"absent" does not exist'),
        (lambda address: address.replace("table=pg_class", "query=SELECT 1 AS a, 2 AS a"), "more than once"),
        (lambda address: address.replace("table=pg_class", "tabel=pg_class"), "table=SCHEMA.NAME"),
        (lambda address: address.replace("%40", "@").replace("%2F", "/").replace("%3F", "?"), "? as %3F"),
        (lambda address: address.replace("%40", "@").replace("%2F", "/"), "@ as %40"),
        (lambda address: address.replace("%20", "%zz"), "% itself as %25"),
    ],
)
def test_whatever_goes_wrong_the_password_is_not_told(
    postgresql: Database, change: Callable[[str], str], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises((DataError, SettingsError)) as error:
        read_table(change(postgresql.address(table="pg_class")))
    assert message in str(error.value)
    told = "".join(traceback.format_exception(error.value)) + caplog.text
    assert not [word for word in SECRETS if word in told]


def test_passwords_are_taken_from_where_libpq_takes_them(
    postgresql: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bare = postgresql.as_user(SUPERUSER, None, query="SELECT current_user::text AS who")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "absent"))
    with pytest.raises(DataError, match="PGPASSWORD"):
        read_table(bare)
    with monkeypatch.context() as environment:
        environment.setenv("PGPASSWORD", PASSWORD)
        assert read(bare).item() == SUPERUSER
    (tmp_path / "pgpass").write_text(f"127.0.0.1:{postgresql.port}:*:{SUPERUSER}:{PASSWORD}\n")
    (tmp_path / "pgpass").chmod(0o600)
    with monkeypatch.context() as environment:
        environment.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
        assert read(bare).item() == SUPERUSER
    services = tmp_path / "services"
    services.write_text(f"[shop]\nhost=127.0.0.1\nport={postgresql.port}\nuser={SUPERUSER}\npassword={PASSWORD}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    assert read("postgresql:///postgres?service=shop&query=SELECT 1 AS a").item() == 1
    monkeypatch.setenv("PGSERVICE", "shop")
    assert read("postgresql:///postgres?query=SELECT 1 AS a").item() == 1


def test_a_socket_is_named_as_a_host(postgresql: Database) -> None:
    folder, password = quote(str(postgresql.socket_folder), safe=""), quote(PASSWORD, safe="")
    asked = f"port={postgresql.port}&query=SELECT 1 AS a"
    assert read(f"postgresql://postgres:{password}@{folder}/postgres?{asked}").item() == 1
    table = read_table(f"postgresql:///postgres?host={folder}&user=postgres&password={password}&{asked}")
    assert table.file == f"postgresql:///postgres?host={folder}&user=postgres&{asked}"


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_interrupted_it_stops_the_query_too(database: Database) -> None:
    source = database.address(
        query="SELECT n AS user_id, 1 AS item_id, pg_sleep(60)::text FROM generate_series(1, 9) AS n"
    )
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
    command = [sys.executable, "-m", "flanrec", "data", "describe", "--interactions", source, "--items", "none.csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        wait_for(lambda: database.ask(f"{running} AND query LIKE 'COPY%'") == [1] or run.poll() is not None)
        run.send_signal(signal.SIGINT)
        said, _ = run.communicate(timeout=30)
    assert (run.returncode, said) == (130, "")
    wait_for(lambda: database.ask(running) == [0])


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("package", ["adbc_driver_postgresql", "pyarrow"])
def test_a_missing_package_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.delitem(sys.modules, "adbc_driver_postgresql.dbapi", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SettingsError, match=rf"{package}.* pip install 'flanrec\[postgresql\]'"):
        read_table("postgresql://me:secret@db/shop?table=t")


def test_nothing_of_a_database_is_imported_before_one_is_read() -> None:
    code = "import flanrec, flanrec.cli.main, sys; print([m for m in sys.modules if m.startswith(('adbc', 'pyarrow'))])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
