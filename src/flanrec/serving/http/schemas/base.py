"""What bodies share, and errors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

MANY = 10_000
"""Most entries of a list in a body, whatever the limits of the service.

Beside it stands ``fail_fast``: the first wrong entry is told, since all of them could be hundreds of thousands.
"""

_MOST_FIELDS = 100


class Body(BaseModel):
    """A body without unknown fields; fields say what they are."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Sent(Body):
    """A body of a request: a field takes the type that it says, so that no ``false`` becomes the year 0."""

    model_config = ConfigDict(strict=True)

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, sent: Any) -> Any:
        """Refuse very many fields before they are looked at: each unknown one would be a mistake of its own."""
        if isinstance(sent, dict) and len(sent) > _MOST_FIELDS:
            told = {"most": _MOST_FIELDS, "count": len(sent)}
            raise PydanticCustomError("too_many_fields", "at most {most} fields are taken, not {count}", told)
        return sent


class ModelVersion(Body):
    """Which model answered."""

    name: str
    version: str
    """The first digits of the SHA-256 of its manifest."""


class Answered(Body):
    """What every answer says."""

    request_id: str
    """Also in the header ``X-Request-ID``; feedback names it."""
    model: ModelVersion


class Mistake(Body):
    """One thing that is wrong with a request."""

    where: str
    what: str


class Problem(Body):
    """An error (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[Mistake] | None = None
