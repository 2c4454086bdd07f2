"""What stands before every request: an id and a clock, who may ask, and how much may be sent.

Each is an ASGI application around the next one. None of them reads a body: whoever may not ask is answered before.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flanrec.serving.http.headers import SAFE, request_id
from flanrec.serving.http.problems import problem
from flanrec.serving.keys import Recogniser, allows
from flanrec.serving.keys import Scope as KeyScope
from flanrec.serving.logs import ACCESS, REQUEST_ID
from flanrec.serving.watching import Metrics

logger = logging.getLogger(ACCESS)

NOBODY = "anonymous"
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_OPEN = frozenset({"/livez", "/readyz"})
_READS = re.compile(
    r"/v1/(recommend|recommend/batch|rank|match|explain)|/v1/items(/.*)?|/openapi\.json|/version|/metrics"
)


def scope_needed(method: str, path: str) -> KeyScope | None:
    """What a key must be allowed for a request; None where none is needed.

    What is not known to need less needs ``admin``.

    >>> scope_needed("POST", "/v1/recommend"), scope_needed("DELETE", "/v1/items/7"), scope_needed("GET", "/livez")
    ('read', 'admin', None)
    """
    if path in _OPEN:
        return None
    if path == "/v1/feedback":
        return "feedback"
    if _READS.fullmatch(path) and (method in ("GET", "HEAD") or not path.startswith("/v1/items")):
        return "read"
    return "admin"


@dataclass(frozen=True)
class Watch:
    """Gives every request an id, counts it, times it, and says in the log what became of it.

    A client may choose the id, in ``X-Request-ID``. What escapes everything below is told as 500.
    """

    app: ASGIApp
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        named = request_id(scope)
        scope.setdefault("state", {})["request_id"] = named
        token, begun, status = REQUEST_ID.set(named), time.perf_counter(), 0

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = named
                message["headers"].extend(SAFE)
            await send(message)

        try:
            await self.app(scope, receive, answered)
        except Exception:
            logger.exception("a request failed")
            if not status:
                await problem(500, "something went wrong here; the log has it under this request's id")(
                    scope, receive, answered
                )
        finally:
            self._tell(scope, status, time.perf_counter() - begun)
            REQUEST_ID.reset(token)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.metrics.requests.labels(route, method, str(status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        logger.info(
            "request",
            extra={
                "request_id": scope["state"]["request_id"],
                "route": route,
                "method": method,
                "status": status,
                "milliseconds": round(1000 * seconds, 2),
                "key": scope["state"].get("actor", NOBODY),
            },
        )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(frozen=True)
class Guard:
    """Lets through whoever may ask.

    Without keys (a service on the loopback interface) everybody may, who names this very host: a page from elsewhere
    that has a browser ask under a name of its own is refused.

    Attributes
    ----------
    recogniser
        None where no key is needed.
    hosts
        Names under which the service may be asked where no key is needed; "*" for any.
    """

    app: ASGIApp
    recogniser: Recogniser | None
    hosts: Sequence[str] = LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or have it answered."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self.recogniser is None:
            host = re.sub(r":\d+$", "", headers.get("host", ""))
            if "*" not in self.hosts and host.lower() not in self.hosts:
                await problem(421, "this host name is not served; ask by the address of the loopback interface")(
                    scope, receive, send
                )
                return
            await self.app(scope, receive, send)
            return
        needed = scope_needed(scope["method"], scope["path"])
        if needed is not None:
            kind, _, text = headers.get("authorization", "").partition(" ")
            key = await asyncio.to_thread(self.recogniser.recognise, text.strip()) if kind.lower() == "bearer" else None
            if key is None:
                refused = problem(401, "send a key: Authorization: Bearer KEY")
                refused.headers["WWW-Authenticate"] = "Bearer"
                await refused(scope, receive, send)
                return
            scope["state"]["actor"] = key.name
            if not allows(key, needed):
                await problem(403, f"this needs a key with the scope {needed}")(scope, receive, send)
                return
            if wait := self.recogniser.seconds_to_wait(key):
                told = f"this key makes at most {key.per_minute} requests a minute"
                await problem(429, told, retry=int(wait) + 1)(scope, receive, send)
                return
        await self.app(scope, receive, send)


@dataclass(frozen=True)
class BodyCap:
    """Refuses bodies that are too large, by what they say of their length or, in chunks, when they become so."""

    app: ASGIApp
    most: int

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse its body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        said = Headers(scope=scope).get("content-length", "")
        if said.isdecimal() and int(said[:20]) > self.most:
            await problem(413, self._told)(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.most:
                raise HTTPException(413, self._told, headers={"Connection": "close"})
            return message

        await self.app(scope, counted, send)

    @property
    def _told(self) -> str:
        return f"a body has at most {self.most} bytes"
