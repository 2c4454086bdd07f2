"""What stands between a browser and Gradio: the routes that the page needs, and no others.

Gradio can do much that this page does not ask of it: read and take files, fetch other addresses, describe and run its
functions as an API. Whatever is not named here is not there.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flanrec.serving.http.gate import OPEN_ENDED, STUDIO
from flanrec.serving.http.problems import problem

_PAGE = "/"
_FILES = re.compile(r"/(assets|static)/[A-Za-z0-9_./-]+|/theme\.css")
_READS = re.compile(r"/config|/gradio_api/(startup-events|app_id)/?")
_STREAMS = re.compile(r"/gradio_api/(queue/data|heartbeat/[A-Za-z0-9]+)")
_WRITES = re.compile(r"/gradio_api/(queue/join|cancel|reset)/?")
_LOOK_SECONDS = 0.25
_FROM_ELSEWHERE = re.compile(r'<meta[^>]*?(?:property|name)="(?:og|twitter):[^>]*?>|<link rel="manifest"[^>]*?>')
_ICON = '<link rel="icon" href="data:," />'
"""None, or browsers would ask the service for one."""
_DAY = 86_400


@dataclass(frozen=True)
class Fence:
    """Lets through what the page needs, asked by the page itself, and says to the browser what the page may load.

    Attributes
    ----------
    app
        Gradio's application.
    ending
        Whether the service is ending: answers that go on while a page is open are then cut off.
    """

    app: ASGIApp
    ending: Callable[[], bool]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        # What the log and the metrics call it; Gradio has its own copy to write into.
        scope["route"] = SimpleNamespace(path=STUDIO)
        inner = dict(scope)
        reads = scope["method"] in ("GET", "HEAD")
        if reads and path == _PAGE:
            await self._page(inner, receive, send)
        elif reads and _FILES.fullmatch(path):
            await self.app(inner, receive, _kept(send, path))
        elif not (reads and (_READS.fullmatch(path) or _STREAMS.fullmatch(path))) and not (
            scope["method"] == "POST" and _WRITES.fullmatch(path)
        ):
            await problem(404, "the studio has no such page")(scope, receive, send)
        elif not asked_by_itself(Headers(scope=scope)):
            await problem(403, "the studio is asked by its own page alone")(scope, receive, send)
        elif _STREAMS.fullmatch(path):
            scope["state"][OPEN_ENDED] = True
            await self._until_the_end(inner, receive, send)
        else:
            await self.app(inner, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The page itself, with its scripts marked as its own: no other script runs, wherever it came from."""
        # As it is, to be read here: not packed.
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        nonce = secrets.token_urlsafe(16)
        start: Message = {}
        parts: list[bytes] = []

        async def gathered(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
            if message["type"] != "http.response.body":
                return
            parts.append(message.get("body", b""))
            if message.get("more_body"):
                return
            text = b"".join(parts).decode()
            text = _FROM_ELSEWHERE.sub("", text).replace("<head>", f"<head>{_ICON}", 1)
            body = text.replace("<script", f'<script nonce="{nonce}"').encode()
            headers = MutableHeaders(scope=start)
            headers["Content-Length"] = str(len(body))
            headers["Content-Security-Policy"] = content_policy(nonce)
            headers["X-Frame-Options"] = "DENY"
            await send(start)
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

        await self.app(scope, receive, gathered)

    async def _until_the_end(self, scope: Scope, receive: Receive, send: Send) -> None:
        open_ = False

        async def sent(message: Message) -> None:
            nonlocal open_
            open_ = message["type"] == "http.response.start" or bool(message.get("more_body"))
            await send(message)

        answering = asyncio.ensure_future(self.app(scope, receive, sent))
        try:
            while not answering.done() and not self.ending():
                await asyncio.wait({answering}, timeout=_LOOK_SECONDS)
            if answering.done():
                answering.result()
        finally:
            answering.cancel()
            # What is cut off may still say its last words.
            await asyncio.wait({answering}, timeout=1)
        if open_:
            await send({"type": "http.response.body", "body": b""})


def content_policy(nonce: str) -> str:
    """What a browser lets the page load and run: its own files, and the scripts that carry the nonce.

    Gradio makes functions of the templates of its HTML components, hence ``unsafe-eval``; what is in texts stays text
    with it, for handlers in markup and scripts without the nonce do not run.
    """
    allowed = {
        "default-src": "'none'",
        "script-src": f"'self' 'nonce-{nonce}' 'unsafe-eval'",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'self'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{what} {where}" for what, where in allowed.items())


def asked_by_itself(headers: Headers) -> bool:
    """Whether a request comes from a page of this very host: browsers send passwords along with those of others too.

    >>> asked_by_itself(Headers({"origin": "https://elsewhere.example", "host": "shop.example"}))
    False
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _kept(send: Send, path: str) -> Send:
    """Files whose names change with their content are asked for once."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            named = path.startswith("/assets/")
            MutableHeaders(scope=message)["Cache-Control"] = f"private, max-age={30 * _DAY if named else 3_600}"
        await send(message)

    return sent
