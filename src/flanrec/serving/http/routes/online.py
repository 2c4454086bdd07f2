"""What people did with what they were shown."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from flanrec.metrics import Interval
from flanrec.serving.experiments import Experiment
from flanrec.serving.http.asking import said, service_of
from flanrec.serving.http.fields import Name
from flanrec.serving.http.schemas.online import Online, OnlineComparison, OnlineModel, Span
from flanrec.serving.online import Comparison, by_model, compared_mixed, compared_split
from flanrec.serving.settings import ServeSettings
from flanrec.serving.store import Store
from flanrec.serving.store.shown import Answer

router = APIRouter(prefix="/v1", tags=["online"])

_DAY = 24 * 3600.0
_Kinds = Annotated[
    list[Name],
    Query(
        default_factory=list,
        max_length=100,
        description="Kinds of events that count; by default all that are behaviour, so no impressions or dislikes.",
    ),
]


@router.get("/online", response_model=Online)
async def online(request: Request, event: _Kinds, days: Annotated[float, Query(gt=0, le=3_650)] = 7.0) -> Response:
    """Hit rates by version of a model, and the comparison of the experiment that runs.

    A list is met by events that name its request.
    """
    service = service_of(request)
    return said(await asyncio.to_thread(_table, service.store, service.settings, days, tuple(event)))


def _table(store: Store, settings: ServeSettings, days: float, events: tuple[str, ...]) -> Online:
    answers = store.shown.answers(time.time() - days * _DAY, events, settings.learning.not_behaviour)
    rows = [
        OnlineModel(
            model=row.model, lists=row.lists, people=row.hit_rate.count, hit_rate=_span(row.hit_rate),
            reciprocal_rank=_span(row.reciprocal_rank),
        )
        for row in by_model(answers)
    ]  # fmt: skip
    found = _compared(answers, settings.experiment)
    comparison = None if found is None else OnlineComparison(**vars(found))
    return Online(days=days, models=rows, comparison=comparison)


def _compared(answers: list[Answer], experiment: Experiment) -> Comparison | None:
    if experiment.kind == "none":
        return None
    compare = compared_split if experiment.kind == "split" else compared_mixed
    return compare(answers, *experiment.models)


def _span(interval: Interval) -> Span:
    return Span(value=interval.value, low=interval.low, high=interval.high)
