"""What users did."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from flanrec.serving.http.asking import request_id_of, said, service_of, within
from flanrec.serving.http.schemas import Feedback, FeedbackAnswer
from flanrec.serving.reporting import report
from flanrec.serving.store import Event

router = APIRouter(prefix="/v1", tags=["feedback"])

_Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", pattern=r"^[\x21-\x7e]{1,150}$",
        description="Stands for the ids of events that have none: a report sent again with it changes nothing.",
    ),
]  # fmt: skip


@router.post("/feedback", response_model=FeedbackAnswer)
async def feedback(request: Request, given: Feedback, key: _Key = None) -> Response:
    """Report events. They are on the disk when this is answered, and count in the user's next list.

    An event that is known, by its ``feedback_id`` or by user, item, time and kind, changes nothing. A ``report`` calls
    for a person to look at the item; its ``review`` says why.
    """
    service = service_of(request)
    limits = service.settings.limits
    within("events", len(given.events), limits.feedback)
    reported = service.settings.learning.reported
    for number, one in enumerate(given.events):
        most = limits.text if one.event in reported else limits.item_text
        within(f"characters of events.{number}.review", len(one.review), most)
    events = _events(given, key, time.time())
    new = await report(service, events)
    return said(FeedbackAnswer(request_id=request_id_of(request), new=new, known=len(events) - new))


def _events(given: Feedback, key: str | None, now: float) -> list[Event]:
    found = []
    for number, one in enumerate(given.events):
        feedback_id = one.feedback_id or (None if key is None else f"{key}/{number}")
        moment = now if one.timestamp is None else one.timestamp
        found.append(
            Event(one.user_id, one.item_id, moment, one.event, one.rating, one.weight, feedback_id, one.request_id,
                  one.review.strip())
        )  # fmt: skip
    return found
