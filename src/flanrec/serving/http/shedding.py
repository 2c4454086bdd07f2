"""Refusing questions while the queue is full, before anything else is done for them.

A request that is refused at the queue has been read, checked and logged by then. Under ten times what can be answered
that would leave no time for those that are let in: whoever refuses holds the interpreter's lock, which the model needs
again and again for a list.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from dataclasses import dataclass, field
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from flanrec.serving.http.headers import SAFE, request_id
from flanrec.serving.http.problems import MEDIA_TYPE
from flanrec.serving.http.schemas import Problem
from flanrec.serving.service import Service

logger = logging.getLogger(__name__)

QUESTIONS = ("/v1/recommend", "/v1/recommend/batch", "/v1/rank", "/v1/match", "/v1/explain")
_STATUS = HTTPStatus.TOO_MANY_REQUESTS
_SECOND = 1.0
_PLAIN = re.compile(rb"POST (%s) HTTP/1\.1\r\n" % b"|".join(map(str.encode, QUESTIONS)))
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d{1,9})\r\n", re.IGNORECASE)
_NAMED = re.compile(rb"\r\n(x-request-id|connection|expect|transfer-encoding):", re.IGNORECASE)


@dataclass
class Refusals:
    """Makes and counts them: in the metrics like all answers, in the log once a second."""

    service: Service
    _refused: int = field(default=0, init=False)
    _told: float = field(default=0.0, init=False)

    @property
    def due(self) -> bool:
        """Whether questions are refused now."""
        return self.service.batcher.full

    def make(self, path: str, named: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Headers and body of one."""
        busy = self.service.batcher.refuse()
        self.service.metrics.requests.labels(path, "POST", str(int(_STATUS))).inc()
        self._tell()
        return _problem(_STATUS, str(busy), named, (b"retry-after", str(busy.seconds).encode()))

    def of_bytes(self, data: bytes) -> bytes | None:
        """The answer to what came over a connection, if that is one whole question of the plainest form; else None."""
        asked = _PLAIN.match(data)
        end = data.find(b"\r\n\r\n")
        if asked is None or end < 0:
            return None
        length = _LENGTH.search(data, 0, end + 2)
        if length is None or len(data) != end + 4 + int(length[1]) or _NAMED.search(data, 0, end):
            return None
        return _as_bytes(_STATUS, *self.make(asked[1].decode(), secrets.token_hex(12)))

    def of_head(self, status: HTTPStatus, detail: str) -> bytes:
        """The answer to a head that is not read to its end, and the last one of its connection."""
        self.service.metrics.requests.labels("unknown", "other", str(int(status))).inc()
        return _as_bytes(status, *_problem(status, detail, secrets.token_hex(12), (b"connection", b"close")))

    def _tell(self) -> None:
        self._refused += 1
        now = time.monotonic()
        if now - self._told > _SECOND:
            logger.warning("the queue is full: %d requests refused", self._refused)
            self._refused, self._told = 0, now


def _problem(
    status: HTTPStatus, detail: str, named: str, *more: tuple[bytes, bytes]
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    told = Problem(title=status.phrase, status=status, detail=detail, request_id=named)
    body = told.model_dump_json(exclude_none=True).encode()
    headers = [
        (b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode()),
        *more, (b"x-request-id", named.encode()), *SAFE,
    ]  # fmt: skip
    return headers, body


def _as_bytes(status: HTTPStatus, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    head = b"".join(b"%s: %s\r\n" % line for line in headers)
    return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (status, status.phrase.encode(), head, body)


@dataclass(frozen=True)
class Shed:
    """Answers questions with 429 while they are refused: a look at the queue and a few bytes."""

    app: ASGIApp
    refusals: Refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        asks = scope["type"] == "http" and scope["path"] in QUESTIONS and scope["method"] == "POST"
        if not (asks and self.refusals.due):
            await self.app(scope, receive, send)
            return
        headers, body = self.refusals.make(scope["path"], request_id(scope))
        await send({"type": "http.response.start", "status": _STATUS, "headers": headers})
        await send({"type": "http.response.body", "body": body})
