"""What fields of requests may hold, and how they are cleaned."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError, PydanticKnownError

from flanrec.data.columns import LATEST

ID_LENGTH = 200
LONGEST = 1_000_000


def _as_text(value: Any) -> Any:
    """Whole numbers are ids too."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_whole(value: Any) -> Any:
    """1972.0 is a whole number: tables with gaps write years so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _plain_id(text: str) -> str:
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise PydanticCustomError("id_characters", "an id has no control characters")
    return text


def _without_controls(text: str) -> str:
    """Free text without control characters, which no store and no model can do anything with."""
    if text.isprintable():
        return text
    kept = (one if one in "\t\n" or unicodedata.category(one) not in ("Cc", "Cs") else " " for one in text)
    return "".join(kept)


def at_most(keys: int) -> BeforeValidator:
    """Refuse a dictionary of more keys before its values are looked at; it stands last beside the type.

    A million bytes of wrong values would be half a million mistakes, and seconds in which nobody else is answered.

    >>> from pydantic import TypeAdapter, ValidationError
    >>> numbers = TypeAdapter(Annotated[dict[str, int], Field(max_length=2), at_most(2)])
    >>> try:
    ...     numbers.validate_python({"a": "x", "b": "x", "c": "x"})
    ... except ValidationError as wrong:
    ...     [one["msg"] for one in wrong.errors()]
    ['Dictionary should have at most 2 items after validation, not 3']
    """

    def check(value: Any) -> Any:
        if isinstance(value, dict) and len(value) > keys:
            told = {"field_type": "Dictionary", "max_length": keys, "actual_length": len(value)}
            raise PydanticKnownError("too_long", told)
        return value

    return BeforeValidator(check)


_Text = Annotated[str, StringConstraints(min_length=1, max_length=ID_LENGTH)]
Token = Annotated[_Text, AfterValidator(_plain_id)]
"""An id that clients choose for what they send."""

Id = Annotated[Token, BeforeValidator(_as_text, json_schema_input_type=_Text | int)]
"""Of a user or an item; a whole number stands for its digits."""

Words = Annotated[str, StringConstraints(max_length=LONGEST), AfterValidator(_without_controls)]
"""What people write."""

WHOLE = BeforeValidator(_as_whole)
"""Beside an ``int`` of a body."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_plain_id)]
"""Of an attribute, a column, a kind of event, or a model."""

Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e15, le=1e15)]
Value = (
    bool
    | Annotated[int, Field(ge=-(10**15), le=10**15)]
    | Number
    | Words
    | Annotated[list[Words], Field(max_length=100, fail_fast=True)]
)
"""Of an attribute."""

Attributes = Annotated[dict[Name, Value | None], Field(max_length=100), at_most(100)]
Seconds = Annotated[float, Field(ge=0, lt=LATEST, allow_inf_nan=False)]
Year = Annotated[int, Field(ge=-5_000, le=5_000), WHOLE]
