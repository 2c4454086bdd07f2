"""What is asked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from flanrec.serving.http.fields import WHOLE, Attributes, Id, Name, Words, Year, at_most
from flanrec.serving.http.schemas.base import MANY, Sent

_DAY_MS = 24 * 3600 * 1000
Values = Annotated[list[Words], Field(min_length=1, max_length=100, fail_fast=True)]


class For(Sent):
    """For whom something is asked."""

    user_id: Id | None = None
    """A user. One who is not stored has no history."""
    history: Annotated[list[Words], Field(max_length=MANY, fail_fast=True)] | None = None
    """Instead of a user: item ids or titles, oldest first."""
    attributes: Attributes = Field(default_factory=dict)
    """What else is known of the user, such as an age."""
    model: Name | None = None
    """Which of the served models is asked; the default one if none is named."""
    deadline_ms: Annotated[int, Field(ge=1, le=_DAY_MS), WHOLE] | None = None
    """An answer that takes longer is not wanted: 504."""

    @model_validator(mode="after")
    def _one_of_both(self) -> For:
        if self.user_id is not None and self.history is not None:
            raise ValueError("give user_id or history, not both")
        return self


class Choice(Sent):
    """Which items may come."""

    columns: Annotated[dict[Name, Values], Field(max_length=20), at_most(20)] = Field(default_factory=dict)
    """Column of the items, such as ``category``, to values: an item has one of them, in every column."""
    from_year: Year | None = None
    to_year: Year | None = None
    only: Annotated[list[Id], Field(min_length=1, max_length=MANY, fail_fast=True)] | None = None
    """Item ids that alone may come."""


class Recommend(For):
    """A list that is asked for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"user_id": "196", "k": 10},
                {"history": ["Alien (1979)", "50"], "wish": "something slow and strange", "k": 5, "explain": 2},
                {"user_id": "196", "filters": {"columns": {"category": ["Comedy"]}}, "diversity": 0.3},
            ]
        }
    )

    k: Annotated[int, Field(ge=1, le=MANY), WHOLE] = 10
    """Length of the list; fewer come where fewer may."""
    wish: Words = ""
    """What is wanted, in plain words."""
    avoid: Words = ""
    """What is not wanted."""
    reading: Literal["fused", "item_tokens", "generate"] = "fused"
    """All sources in one ranking, the language model alone, or titles that it spells."""
    filters: Choice = Field(default_factory=Choice)
    """Which items may come."""
    exclude: Annotated[list[Id], Field(max_length=MANY, fail_fast=True)] = Field(default_factory=list)
    """Item ids that may not come."""
    seen: bool = False
    """Whether items of the history may come again."""
    diversity: Annotated[float, Field(ge=0, le=1)] = 0.0
    """0 is the plain order, 1 is difference only."""
    long_tail: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Least share of items outside the head of the catalogue, as far as those that suit best have any."""
    sources: bool = False
    """Tell what every source gave each item."""
    explain: Annotated[int, Field(ge=0, le=50), WHOLE] = 0
    """How many of the first items to give reasons for."""


class RecommendMany(Sent):
    """Several lists at once."""

    requests: Annotated[list[Recommend], Field(min_length=1, max_length=MANY, fail_fast=True)]


class Rank(For):
    """Items to rank for somebody."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "196", "items": ["50", "181", "258"]}]})

    items: Annotated[list[Id], Field(min_length=1, max_length=MANY, fail_fast=True)]
    wish: Words = ""
    avoid: Words = ""
    sources: bool = False


class Match(For):
    """Items whose probabilities are asked for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "196", "items": ["50", "181"]}]})

    items: Annotated[list[Id], Field(min_length=1, max_length=MANY, fail_fast=True)]


class Explain(For):
    """An item that is to be explained."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "196", "item": "50", "wish": "comedy"}]})

    item: Words
    """An item id or a title."""
    wish: Words = ""
