"""The tables of the store brought to the form that this version of flanrec knows, and back."""

from __future__ import annotations

import logging
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text

from flanrec.errors import StoreError
from flanrec.serving.store.database import Database
from flanrec.serving.store.tables import metadata

logger = logging.getLogger(__name__)

NEWEST, NOTHING = "head", "base"
_LOCK = 7_305_210_943


def migrate(database: Database, to: str = NEWEST) -> tuple[str, str]:
    """Bring the tables to a revision, up or down, in one transaction; two processes at once take turns.

    Parameters
    ----------
    to
        A revision such as ``0001``, `NEWEST`, or `NOTHING` for no tables.

    Returns
    -------
    before, after
        Revisions; "" for no tables.

    Raises
    ------
    StoreError
        The database is of a newer version, the revision is unknown, or the database cannot be used.
    """
    with database.writing() as connection:
        if database.kind == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        config = _config(connection)
        known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]  # newest first
        before = revision_of(connection)
        if before and before not in known:
            raise StoreError(
                f"the store {database} has revision {before}, this version of flanrec knows {', '.join(known)}; use "
                "the version that made it, or a newer one"
            )
        target = {NEWEST: known[0], NOTHING: ""}.get(to, to)
        if target and target not in known:
            raise StoreError(f"there is no revision {to}; there are {', '.join(reversed(known))}")
        if target != before:
            down = not target or (before != "" and known.index(target) > known.index(before))
            logger.info("store %s: from revision %s to %s", database, before or "none", target or "none")
            try:
                (command.downgrade if down else command.upgrade)(config, target or NOTHING)
            except CommandError as problem:
                raise StoreError(f"the store {database} cannot be migrated: {problem}") from problem
        return before, target


def tables_revision(database: Database) -> str:
    """The revision of a database's tables; "" for none.

    Raises
    ------
    StoreError
        The database cannot be used.
    """
    with database.reading() as connection:
        return revision_of(connection)


def revision_of(connection: Connection) -> str:
    """The revision of the tables; "" for none."""
    return MigrationContext.configure(connection).get_current_revision() or ""


def differences(connection: Connection) -> list[object]:
    """What the tables of a database have otherwise than `flanrec.serving.store.tables` says."""
    return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
