"""Refusing questions while the queue is full, before anything else is done for them."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from flanrec.serving.batching import Busy
from flanrec.serving.http.headers import SAFE, request_id
from flanrec.serving.http.problems import MEDIA_TYPE
from flanrec.serving.http.schemas import Problem
from flanrec.serving.service import Service

logger = logging.getLogger(__name__)

QUESTIONS = frozenset({"/v1/recommend", "/v1/recommend/batch", "/v1/rank", "/v1/match", "/v1/explain"})
_STATUS = 429
_SECOND = 1.0


@dataclass
class Shed:
    """Answers questions with 429 while the queue is full.

    A request that is refused at the queue has been read and checked by then: under ten times what can be answered, that
    would leave no time for those that are let in. Here a refusal is a look at the queue and a few bytes. Each counts as
    an answer in the metrics; the log says once a second how many there were.
    """

    app: ASGIApp
    service: Service
    _refused: int = field(default=0, init=False)
    _told: float = field(default=0.0, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        asks = scope["type"] == "http" and scope["path"] in QUESTIONS and scope["method"] == "POST"
        if not (asks and self.service.batcher.full):
            await self.app(scope, receive, send)
            return
        busy = Busy(self.service.batcher.retry_seconds)
        named = request_id(scope)
        told = Problem(title=HTTPStatus(_STATUS).phrase, status=_STATUS, detail=str(busy), request_id=named)
        body = told.model_dump_json(exclude_none=True).encode()
        raw = [
            (b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode()),
            (b"retry-after", str(busy.seconds).encode()), (b"x-request-id", named.encode()), *SAFE,
        ]  # fmt: skip
        await send({"type": "http.response.start", "status": _STATUS, "headers": raw})
        await send({"type": "http.response.body", "body": body})
        self._count(scope)

    def _count(self, scope: Scope) -> None:
        self.service.metrics.requests.labels(scope["path"], "POST", str(_STATUS)).inc()
        self._refused += 1
        now = time.monotonic()
        if now - self._told > _SECOND:
            logger.warning("the queue is full: %d requests refused", self._refused)
            self._refused, self._told = 0, now
