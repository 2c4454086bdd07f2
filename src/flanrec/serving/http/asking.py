"""What routes share: the service, who asks, limits, and an answer unless the client is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import TypeVar

from fastapi import Request, Response
from pydantic import BaseModel

from flanrec.errors import SettingsError
from flanrec.serving.http.gate import NOBODY
from flanrec.serving.http.problems import Gone
from flanrec.serving.service import Service
from flanrec.serving.settings import Limits
from flanrec.serving.store.trail import Trace

Result = TypeVar("Result")


def service_of(request: Request) -> Service:
    """The service that the application serves."""
    found: Service = request.app.state.service
    return found


def request_id_of(request: Request) -> str:
    """Of a request, as `Watch` gave it."""
    return str(request.state.request_id)


def trace_of(request: Request) -> Trace:
    """By whom something is changed."""
    return Trace(str(getattr(request.state, "actor", NOBODY)), request_id_of(request))


def within(name: str, count: int, most: int) -> None:
    """Raise SettingsError where there is more of something than the service lets in."""
    if count > most:
        raise SettingsError(f"{name}: {count} is more than this service takes, {most}")


def short_enough(limits: Limits, attributes: Mapping[str, object]) -> None:
    """Raise SettingsError where an attribute is longer than the service lets in."""
    for name, value in attributes.items():
        within(f"characters of the attribute {name}", len(str(value)), limits.text)


def said(body: BaseModel, status: int = 200) -> Response:
    """A body as an answer, written once and not checked again."""
    return Response(body.model_dump_json(), status, media_type="application/json")


async def unless_gone(request: Request, work: Awaitable[Result]) -> Result:
    """What some work gives; it is dropped as soon as the client goes away.

    Raises
    ------
    Gone
        The client went away first.
    """
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise Gone
    finally:
        working.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
