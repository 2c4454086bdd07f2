"""Users, items and events."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from flanrec.serving.http.fields import Attributes, Id, Name, Number, Seconds, Token, Words, Year
from flanrec.serving.http.schemas.base import MANY, Body, Sent


class UserBody(Sent):
    """What is known of a user."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"attributes": {"age": 30, "occupation": "baker"}}]})

    attributes: Attributes = Field(default_factory=dict)


class UserAnswer(Body):
    """A user."""

    user_id: str
    attributes: dict[str, Any]


class ItemBody(Sent):
    """An item without its id."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"title": "Solaris (1972)", "text": "A sea that remembers.", "category": ["Sci-Fi"], "year": 1972}
            ]
        }
    )

    title: Words
    text: Words = ""
    category: Annotated[list[Words], Field(max_length=100, fail_fast=True)] = Field(default_factory=list)
    year: Year | None = None
    attributes: Attributes = Field(default_factory=dict)


class ItemPatch(Sent):
    """Fields of an item that change; attributes that are null go."""

    title: Words | None = None
    text: Words | None = None
    category: Annotated[list[Words], Field(max_length=100, fail_fast=True)] | None = None
    year: Year | None = None
    attributes: Attributes | None = None


class ItemWithId(ItemBody):
    """An item."""

    item_id: Id


class Items(Sent):
    """Items to create or replace, all or none."""

    items: Annotated[list[ItemWithId], Field(min_length=1, max_length=MANY, fail_fast=True)]


class ItemAnswer(Body):
    """An item."""

    item_id: str
    title: str
    text: str
    category: list[str]
    year: int | None
    attributes: dict[str, Any]


class Put(Body):
    """What putting did."""

    created: int
    replaced: int


class FeedbackEvent(Sent):
    """Something that a user did."""

    user_id: Id
    item_id: Id
    event: Name = "click"
    """Its kind; ``dislike`` and ``hide`` speak against the item, ``report`` calls for a person to look at it, and
    ``impression`` says nothing."""
    timestamp: Seconds | None = None
    """In seconds; now, if it is not said."""
    rating: Number | None = None
    weight: Annotated[float, Field(ge=0, le=1e9)] = 1.0
    review: Words = ""
    """What the user wrote of the item; why, in a ``report``."""
    feedback_id: Token | None = None
    """Of your choice: the same one again changes nothing, so a report can be repeated."""
    request_id: Token | None = None
    """Of the list that it answers."""


class Feedback(Sent):
    """Events, all or none of which are kept."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"events": [{"user_id": "196", "item_id": "50", "event": "click", "feedback_id": "c-1"}]}]
        }
    )

    events: Annotated[list[FeedbackEvent], Field(min_length=1, max_length=MANY, fail_fast=True)]


class FeedbackAnswer(Body):
    """What became of them; they are on the disk."""

    request_id: str
    new: int
    known: int


class EventAnswer(Body):
    """An event of a user."""

    item_id: str
    event: str
    timestamp: float | None
    rating: float | None
    request_id: str | None


class UserPage(Body):
    """Users by id."""

    users: list[UserAnswer]
    next: str | None
    """Give it as ``cursor`` for the next page."""


class ItemPage(Body):
    """Items by id."""

    items: list[ItemAnswer]
    next: str | None


class EventPage(Body):
    """Events in the order in which they became known."""

    events: list[EventAnswer]
    next: str | None
