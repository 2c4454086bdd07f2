"""What came of lists that were shown."""

from __future__ import annotations

from flanrec.serving.http.schemas.base import Body


class Span(Body):
    """A mean with its 95 % interval."""

    value: float
    low: float
    high: float


class OnlineModel(Body):
    """The lists of one version of a model."""

    model: str
    lists: int
    people: int
    hit_rate: Span
    reciprocal_rank: Span


class OnlineComparison(Body):
    """Two models that were compared: second less first."""

    kind: str
    first: str
    second: str
    people: int
    difference: float
    low: float
    high: float
    p_value: float


class Online(Body):
    """What came of the lists of some days."""

    days: float
    models: list[OnlineModel]
    comparison: OnlineComparison | None
    """Of the experiment that runs; null without one, or while it has too few people."""
