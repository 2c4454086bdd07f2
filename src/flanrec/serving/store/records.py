"""What goes into the store and comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

Record = TypeVar("Record")
CaseKind = Literal["report", "text", "asked"]
CaseState = Literal["open", "kept", "taken_down"]


@dataclass(frozen=True)
class User:
    """A user and what is known of them beside their events.

    Attributes
    ----------
    user_id
    attributes
        As columns of the users table of a `Dataset`.
    """

    user_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """An item of the catalogue.

    Attributes
    ----------
    item_id, title, text, category, year
        As columns of the items table of a `Dataset`.
    attributes
        As its other columns.
    """

    item_id: str
    title: str
    text: str = ""
    category: tuple[str, ...] = ()
    year: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """What a user did with an item.

    Attributes
    ----------
    user_id, item_id
    timestamp
        In seconds; None where the log has no times.
    event
        Its kind, such as ``click``; "" for a log without kinds.
    rating
        None for none.
    weight
    feedback_id
        Chosen by whoever reports the event: the same one reported again changes nothing. None for none.
    request_id
        Of the recommendation that it answers; None for none.
    review
        What the user wrote of the item; "" for nothing.
    """

    user_id: str
    item_id: str
    timestamp: float | None
    event: str = ""
    rating: float | None = None
    weight: float = 1.0
    feedback_id: str | None = None
    request_id: str | None = None
    review: str = ""


@dataclass(frozen=True)
class Shown:
    """A list that was recommended.

    Attributes
    ----------
    request_id
    user_id
        None for one who is not stored.
    moment
        In seconds.
    model
        Version of the model that made it.
    arm
        Of an experiment; "" for none.
    item_ids
        Best first.
    fallback
        Why the list is not the model's; "" where it is.
    """

    request_id: str
    user_id: str | None
    moment: float
    model: str
    item_ids: tuple[str, ...]
    arm: str = ""
    fallback: str = ""


@dataclass(frozen=True)
class Case:
    """An item that a person should look at.

    Attributes
    ----------
    kind
        ``report`` of a user, ``text`` that looks hostile, or ``asked`` for by an operator.
    item_id
    user_id
        Who reported it; None for nobody, or for somebody who was deleted since.
    request_id
        Of the list that the report answers; None for none.
    reason
        What was found, or what was said; the newest of it. "" for nothing.
    count
        How many times it came while it was open.
    opened
        In seconds; 0 for one that is to be opened now.
    state
    decided
        In seconds; None while it is open.
    decided_by
        Name of an API key; "" while it is open.
    note
        What was said with the decision.
    number
        Given by the store; 0 before.
    """

    kind: CaseKind
    item_id: str
    user_id: str | None = None
    request_id: str | None = None
    reason: str = ""
    count: int = 1
    opened: float = 0.0
    state: CaseState = "open"
    decided: float | None = None
    decided_by: str = ""
    note: str = ""
    number: int = 0


@dataclass(frozen=True)
class Page(Generic[Record]):
    """A part of a long list.

    Attributes
    ----------
    records
    after
        Where the next part begins; None at the end.
    """

    records: tuple[Record, ...]
    after: str | None
