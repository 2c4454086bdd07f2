"""What is answered."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from flanrec.serving.http.schemas.base import Answered, Body, Problem

_EXAMPLE_ITEM: JsonDict = {"item_id": "50", "title": "Star Wars (1977)", "score": -3.2, "rank": 1}


class Reasons(Body):
    """Why an item."""

    text: str
    """In a few sentences, without markup."""
    because: list[str]
    """Titles of the history that speak for it."""
    shared: list[str]
    """Categories and decades that it has in common with them."""


class ListedItem(Body):
    """An item in a list."""

    item_id: str
    title: str
    score: float
    rank: int
    sources: dict[str, float] | None = None
    """What every source gave; they add up to the score, up to a constant of the list."""
    reasons: Reasons | None = None


class ListAnswer(Answered):
    """A list."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "request_id": "0b0c…", "model": {"name": "default", "version": "3f2a9c01d7e4"}, "user_id": "196",
                    "basis": "history", "sources": ["ease", "transitions", "popularity"], "fallback": None,
                    "items": [_EXAMPLE_ITEM],
                }
            ]
        }
    )  # fmt: skip

    user_id: str | None
    basis: str
    """What the list rests on first: ``history``, ``words``, ``attributes``, ``popularity`` or ``content``."""
    sources: list[str]
    """Which sources were used."""
    fallback: str | None
    """Why the list is only what is popular; null where it is the model's."""
    items: list[ListedItem]


class ManyAnswers(Answered):
    """Several lists, in the order in which they were asked for."""

    answers: list[ListAnswer | Problem]


class MatchedItem(Body):
    """An item and how probable it is that it is liked."""

    item_id: str
    probability: Annotated[float, Field(ge=0, le=1)]


class MatchAnswer(Answered):
    """Probabilities."""

    user_id: str | None
    items: list[MatchedItem]


class Reason(Body):
    """An event and what it does for an item."""

    item_id: str
    title: str
    effect: float
    shared: list[str]


class ExplainAnswer(Answered):
    """What speaks for an item."""

    user_id: str | None
    item_id: str
    title: str
    text: str
    rank: int
    seen: bool
    reasons: list[Reason]
    against: Reason | None
    wish_effect: float
    prompt: str
    """The instruction as the model read it."""
