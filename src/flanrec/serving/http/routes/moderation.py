"""Items that a person should look at."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from flanrec.errors import NotFoundError
from flanrec.serving.http.asking import said, service_of, trace_of, within
from flanrec.serving.http.cursors import Cursor, closed, opened
from flanrec.serving.http.schemas import CaseAnswer, CaseBody, CaseDecision, CasePage
from flanrec.serving.store import Case

router = APIRouter(prefix="/v1/moderation", tags=["moderation"])

CaseNumber = Annotated[int, Path(ge=1, lt=2**63, description="Of a case.")]
State = Annotated[Literal["open", "kept", "taken_down", "all"], Query(description="Which cases.")]


@router.get("", response_model=CasePage)
async def cases(
    request: Request, state: State = "open", cursor: Cursor = None, limit: Annotated[int, Query(ge=1)] = 100
) -> Response:
    """The cases from the newest on."""
    service = service_of(request)
    within("limit", limit, service.settings.limits.page)
    asked, after = None if state == "all" else state, opened(cursor, whole=True)
    page = await asyncio.to_thread(service.store.cases.page, asked, limit, after)
    return said(CasePage(cases=[_body(case) for case in page.records], next=closed(page.after)))


@router.post("", response_model=CaseAnswer)
async def ask(request: Request, given: CaseBody) -> Response:
    """Have a person look at an item. Of one that was asked for and is open, the count grows."""
    service = service_of(request)
    within("characters of reason", len(given.reason), service.settings.limits.text)
    if not await asyncio.to_thread(service.store.items.known, [given.item_id]):
        raise NotFoundError(f"there is no item {given.item_id!r}")
    case = Case("asked", given.item_id, reason=given.reason.strip())
    return said(_body(await asyncio.to_thread(service.store.cases.add, case, trace_of(request))))


@router.post("/{number}", response_model=CaseAnswer)
async def decide(request: Request, number: CaseNumber, given: CaseDecision) -> Response:
    """Close a case. Taking its item down deletes it: no answer has it from then on, and its other cases close too."""
    service = service_of(request)
    within("characters of note", len(given.note), service.settings.limits.text)
    note = given.note.strip()
    case = await asyncio.to_thread(service.store.cases.decide, number, given.decision, note, trace_of(request))
    return said(_body(case))


def _body(case: Case) -> CaseAnswer:
    return CaseAnswer(**vars(case))
