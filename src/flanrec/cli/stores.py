"""``flanrec store`` and ``flanrec keys``: what the service keeps, and who may ask it."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import polars as pl
import typer

from flanrec.cli.common import print_frame, print_json
from flanrec.cli.options import JsonOption
from flanrec.errors import NotFoundError, SettingsError

if TYPE_CHECKING:
    from flanrec.serving.store import Database, Store

StoreOption = Annotated[
    str, typer.Option("--store", help="What the service keeps: a SQLite file, or postgresql://USER@HOST/NAME.")
]
_ACTOR = "command line"

stores = typer.Typer(help="The tables of what the service keeps.", no_args_is_help=True)
keys = typer.Typer(help="API keys of the service.", no_args_is_help=True)


def open_store(address: str, *, new: bool = True) -> Store:
    """The store of an address, its tables as this version knows them.

    Parameters
    ----------
    new
        Whether it may be a new one.

    Raises
    ------
    SettingsError
        The extra ``serve`` is not installed, or the address is malformed.
    StoreError
        The database cannot be used, or has no store where it should.
    """
    _needed()
    from flanrec.serving.store import Store

    return Store.open(address, new=new)


@stores.command("migrate")
def migrate_command(
    store: StoreOption,
    to: Annotated[str, typer.Option("--to", help="A revision, head for the newest, or base for no tables.")] = "head",
    yes: Annotated[
        bool, typer.Option("--yes", help="Go down without asking: what has no place there is lost.")
    ] = False,
) -> None:
    """Bring the tables to a revision, up or down."""
    database = _database(store)
    from flanrec.serving.store.migrating import NEWEST, migrate

    if to != NEWEST and not yes:
        raise SettingsError(f"going down to {to} may lose data; make a copy, and say --yes")
    before, after = migrate(database, to)
    database.close()
    typer.echo(f"{database}: from revision {before or 'none'} to {after or 'none'}")


@keys.command("create")
def create_key(
    store: StoreOption,
    name: Annotated[str, typer.Option("--name", help="For people: whose it is.")],
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="read, feedback or admin. Repeatable; read by default.")
    ] = None,
    per_minute: Annotated[int, typer.Option("--per-minute", min=1, help="Requests that it may make.")] = 600,
) -> None:
    """Make a key and print it, once: only its digest is kept."""
    kept = open_store(store)
    from flanrec.serving.keys import new_key
    from flanrec.serving.store.trail import Trace

    made = new_key(name, scope or ["read"], per_minute)
    kept.keys.add(made.stored, Trace(_ACTOR))
    kept.close()
    typer.echo(made.text)


@keys.command("list")
def list_keys(store: StoreOption, as_json: JsonOption = False) -> None:
    """The keys, without what is secret."""
    kept = open_store(store, new=False)
    rows = [
        {
            "id": key.key_id, "name": key.name, "scopes": ", ".join(key.scopes), "per minute": key.per_minute,
            "created": time.strftime("%Y-%m-%d %H:%M", time.gmtime(key.created)), "revoked": key.revoked,
        }
        for key in kept.keys.all()
    ]  # fmt: skip
    kept.close()
    if as_json:
        print_json(rows)
    elif rows:
        print_frame(pl.DataFrame(rows), "API keys")
    else:
        typer.echo("there are no keys; make one with flanrec keys create")


@keys.command("revoke")
def revoke_key(
    store: StoreOption, key_id: Annotated[str, typer.Argument(help="Its id, as flanrec keys list shows it.")]
) -> None:
    """End a key; services notice within two seconds."""
    kept = open_store(store, new=False)
    from flanrec.serving.store.trail import Trace

    ended = kept.keys.revoke(key_id, Trace(_ACTOR))
    kept.close()
    if not ended:
        raise NotFoundError(f"there is no key {key_id} that is not revoked; see flanrec keys list")
    typer.echo(f"key {key_id} is revoked")


def _database(address: str) -> Database:
    _needed()
    from flanrec.serving.store import Database

    return Database(address)


def _needed() -> None:
    missing = [name for name in ("alembic", "fastapi", "sqlalchemy", "uvicorn") if find_spec(name) is None]
    if missing:
        raise SettingsError(f"the service needs {', '.join(missing)}: pip install 'flanrec[serve]'")
