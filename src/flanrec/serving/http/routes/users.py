"""Users."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from flanrec.errors import NotFoundError
from flanrec.serving.http.addresses import by_id
from flanrec.serving.http.asking import said, service_of, short_enough, trace_of, within
from flanrec.serving.http.cursors import Cursor, closed, opened
from flanrec.serving.http.fields import Id
from flanrec.serving.http.schemas import EventAnswer, EventPage, UserAnswer, UserBody, UserPage
from flanrec.serving.store import Event, User

router = APIRouter(prefix="/v1/users", tags=["users"])

UserId = Annotated[Id, Path(description="Of a user.")]


@router.get("", response_model=UserPage)
async def users(request: Request, cursor: Cursor = None, limit: Annotated[int, Query(ge=1)] = 100) -> Response:
    """The users whose attributes are known, by id."""
    service = service_of(request)
    within("limit", limit, service.settings.limits.page)
    page = await asyncio.to_thread(service.store.users.page, opened(cursor), limit)
    return said(UserPage(users=[_body(user) for user in page.records], next=closed(page.after)))


@router.put(by_id("user_id"), response_model=UserAnswer, responses={201: {"model": UserAnswer}})
async def put(request: Request, user_id: UserId, given: UserBody) -> Response:
    """Create or replace a user; what they did stays."""
    short_enough(service_of(request).settings.limits, given.attributes)
    user = User(user_id, {name: value for name, value in given.attributes.items() if value is not None})
    created = await asyncio.to_thread(service_of(request).store.users.put, user, trace_of(request))
    return said(_body(user), 201 if created else 200)


@router.patch(by_id("user_id"), response_model=UserAnswer)
async def patch(request: Request, user_id: UserId, given: UserBody) -> Response:
    """Change some attributes; those that are null go."""
    service = service_of(request)
    short_enough(service.settings.limits, given.attributes)
    found = await asyncio.to_thread(service.store.users.patch, user_id, given.attributes, trace_of(request))
    if found is None:
        raise NotFoundError("there is no such user")
    return said(_body(found))


@router.delete(by_id("user_id"), status_code=204)
async def delete(request: Request, user_id: UserId) -> Response:
    """Delete a user with all that is theirs: attributes, events, reviews, and lists that they were shown."""
    service = service_of(request)
    await service.recorder.flush()  # lists shown a moment ago are theirs too
    if not await asyncio.to_thread(service.store.users.delete, user_id, trace_of(request)):
        raise NotFoundError("there is no such user")
    return Response(status_code=204)


@router.get("/{user_id:path}/events", response_model=EventPage)
async def events(
    request: Request, user_id: UserId, cursor: Cursor = None, limit: Annotated[int, Query(ge=1)] = 100
) -> Response:
    """What a user did, in the order in which it became known."""
    service = service_of(request)
    within("limit", limit, service.settings.limits.page)
    page = await asyncio.to_thread(service.store.events.page, user_id, opened(cursor, whole=True), limit)
    return said(EventPage(events=[_event(one) for one in page.records], next=closed(page.after)))


@router.get(by_id("user_id"), response_model=UserAnswer)
async def get(request: Request, user_id: UserId) -> Response:
    """A user."""
    found = await asyncio.to_thread(service_of(request).store.users.get, user_id)
    if found is None:
        raise NotFoundError("there is no such user")
    return said(_body(found))


def _body(user: User) -> UserAnswer:
    return UserAnswer(user_id=user.user_id, attributes=dict(user.attributes))


def _event(event: Event) -> EventAnswer:
    return EventAnswer(
        item_id=event.item_id, event=event.event, timestamp=event.timestamp, rating=event.rating,
        request_id=event.request_id,
    )  # fmt: skip
