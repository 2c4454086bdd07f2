"""The queue for human review: items that somebody should look at, and what was decided of them."""

from __future__ import annotations

import time
from typing import Literal

from sqlalchemy import delete, func, select, update

from flanrec.errors import ConflictError, NotFoundError
from flanrec.serving.store.database import Database
from flanrec.serving.store.items import delete_item
from flanrec.serving.store.opening import open_case
from flanrec.serving.store.records import Case, CaseState, Page
from flanrec.serving.store.tables import cases
from flanrec.serving.store.trail import Trace
from flanrec.serving.store.trail import note as write_down

Decision = Literal["keep", "take_down"]
STATES: tuple[CaseState, ...] = ("open", "kept", "taken_down")


class Cases:
    """Cases for review; of a kind and an item at most one is open.

    Reports and hostile texts open them with what gives rise to them: see `Events.add` and `Items.put`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, case: Case, by: Trace | None = None) -> Case:
        """Open a case, or let the count of the one that is open grow; the case as it is then.

        Parameters
        ----------
        by
            Who asks for it, for the audit log; None for nobody.
        """
        with self._database.writing() as connection:
            opened = open_case(self._database, connection, case)
            assert opened is not None
            if by is not None:
                write_down(connection, by, "ask for review", case.item_id)
        return opened

    def page(self, state: CaseState | None = "open", limit: int = 100, after: str | None = None) -> Page[Case]:
        """The cases from the newest on.

        Parameters
        ----------
        state
            None for all.
        """
        query = select(cases).order_by(cases.c.number.desc()).limit(limit + 1)
        if state is not None:
            query = query.where(cases.c.state == state)
        if after is not None:
            query = query.where(cases.c.number < int(after))
        with self._database.reading() as connection:
            found = [Case(**row) for row in connection.execute(query).mappings()]
        return Page(tuple(found[:limit]), str(found[limit - 1].number) if len(found) > limit else None)

    def get(self, number: int) -> Case | None:
        """A case; None for none."""
        with self._database.reading() as connection:
            row = connection.execute(select(cases).where(cases.c.number == number)).mappings().first()
        return None if row is None else Case(**row)

    def decide(self, number: int, decision: Decision, note: str, by: Trace) -> Case:
        """Close a case; the case as it is then.

        Keeping changes nothing of the item. Taking it down deletes it, unless that was done before, and closes all
        cases that are open about it.

        Raises
        ------
        NotFoundError
            There is no such case.
        ConflictError
            It was decided before.
        """
        with self._database.writing() as connection:
            found = connection.execute(select(cases.c.item_id, cases.c.state).where(cases.c.number == number)).first()
            if found is None:
                raise NotFoundError(f"there is no case {number}")
            state: CaseState = "kept" if decision == "keep" else "taken_down"
            one = cases.c.number == number
            if state == "taken_down":
                # The item before its cases, as whoever puts it does: the other order would wait for each other.
                delete_item(self._database, connection, found.item_id, by)
                one = cases.c.item_id == found.item_id
            closed = update(cases).where(one, cases.c.state == "open").returning(*cases.c)
            closed = closed.values(state=state, decided=time.time(), decided_by=by.actor, note=note)
            rows = [Case(**row) for row in connection.execute(closed).mappings()]
            decided = next((case for case in rows if case.number == number), None)
            if decided is None:
                raise ConflictError(f"case {number} was decided before; read it again")
            for case in rows:
                write_down(connection, by, "keep item" if state == "kept" else "take down item", f"case {case.number}")
        return decided

    def counts(self) -> dict[CaseState, int]:
        """How many cases there are by state."""
        with self._database.reading() as connection:
            rows = connection.execute(select(cases.c.state, func.count()).group_by(cases.c.state)).all()
        found = {state: int(count) for state, count in rows}
        return {state: found.get(state, 0) for state in STATES}

    def forget(self, before: float) -> int:
        """Delete cases that were decided before a moment, in seconds; how many they were."""
        with self._database.writing() as connection:
            return connection.execute(delete(cases).where(cases.c.decided < before)).rowcount
