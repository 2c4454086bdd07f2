"""What stands before every request: an id and a clock, who may ask, and how much may be sent.

Each is an ASGI application around the next one. None of them reads a body: whoever may not ask is answered before.
"""

from __future__ import annotations

import base64
import binascii
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
STUDIO = "/studio"
"""Where the page for people is, whose browsers send keys in a way of their own."""
OPEN_ENDED = "open_ended"
"""In the state of a request whose answer goes on while its page is open: its seconds say nothing."""
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


def within_studio(path: str) -> bool:
    """Whether a path belongs to the page for people.

    >>> within_studio("/studio"), within_studio("/studio/config"), within_studio("/studios")
    (True, True, False)
    """
    return path == STUDIO or path.startswith(f"{STUDIO}/")


def key_sent(header: str, *, basic: bool) -> str | None:
    """The key in an Authorization header; None for none.

    Parameters
    ----------
    basic
        Whether a browser may send it as the password of any name.

    Examples
    --------
    >>> key_sent("Bearer fr_1", basic=False), key_sent("Basic bWU6ZnJfMQ==", basic=True)
    ('fr_1', 'fr_1')
    """
    kind, _, text = header.partition(" ")
    if kind.lower() == "bearer":
        return text.strip()
    if kind.lower() != "basic" or not basic:
        return None
    try:
        return base64.b64decode(text.strip(), validate=True).decode().partition(":")[2].strip()
    except (binascii.Error, ValueError):
        return None


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
                message["headers"].extend((name, value) for name, value in SAFE if name.decode() not in headers)
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
        if not scope["state"].get(OPEN_ENDED):
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


_BASIC = 'Basic realm="flanrec studio: any name, and a key with the scope admin as password", charset="UTF-8"'
_ASK_BROWSER = "give a key with the scope admin as the password; any name will do"
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
            browser = within_studio(scope["path"])
            text = key_sent(headers.get("authorization", ""), basic=browser)
            key = None if text is None else await self.recogniser.recognised(text)
            if key is None:
                refused = problem(401, _ASK_BROWSER if browser else "send a key: Authorization: Bearer KEY")
                refused.headers["WWW-Authenticate"] = _BASIC if browser else "Bearer"
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
