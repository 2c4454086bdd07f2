"""What bodies share, and errors."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

MANY = 10_000
"""Most entries of a list in a body, whatever the limits of the service."""


class Body(BaseModel):
    """A body without unknown fields; fields say what they are."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Sent(Body):
    """A body of a request: a field takes the type that it says, so that no ``false`` becomes the year 0."""

    model_config = ConfigDict(strict=True)


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
