"""The queue for human review."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from flanrec.serving.http.fields import Id, Words
from flanrec.serving.http.schemas.base import Body


class CaseBody(Body):
    """An item that somebody should look at."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"item_id": "50", "reason": "asked for by its owner"}]})

    item_id: Id
    reason: Words = ""


class CaseDecision(Body):
    """What becomes of an item; taking it down deletes it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"decision": "keep", "note": "a quotation"}]})

    decision: Literal["keep", "take_down"]
    note: Words = ""


class CaseAnswer(Body):
    """An item for review, and what was decided of it."""

    number: int
    kind: str
    """``report`` of a user, ``text`` that looks hostile, or ``asked`` for by an operator."""
    item_id: str
    user_id: str | None
    """Who reported it."""
    request_id: str | None
    """Of the list that the report answers."""
    reason: str
    """What was found, or the newest words of those who asked."""
    count: int
    """How many times it came while it was open."""
    opened: float
    """In seconds."""
    state: str
    """``open``, ``kept`` or ``taken_down``."""
    decided: float | None
    decided_by: str
    """Name of a key."""
    note: str


class CasePage(Body):
    """Cases from the newest on."""

    cases: list[CaseAnswer]
    next: str | None
    """Give it as ``cursor`` for the next page."""
