"""Connections of uvicorn that refuse questions before they are parsed, and wait for no request for ever.

To parse a request and to start a task for it takes much longer than to say no.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from flanrec.serving.http.shedding import Refusals

HEAD_BYTES = 65_536
"""Most bytes of a request's head, and of what else is no body: words between the chunks of one, or behind them."""
HEAD_SECONDS = 10.0
"""Within which a head is whole, from its first bytes on."""
BODY_SECONDS = 30.0
"""Within which a body is whole, from the end of its head on."""


def connections(refusals: Refusals) -> type[HttpToolsProtocol]:
    """The protocol of a service's connections."""

    class Refusing(HttpToolsProtocol):
        _within = False
        """Whether a request has begun to arrive and has not ended. What comes then is a part of it, whatever it looks
        like: its sender could have a body answered as if it were another request."""
        _in_body = False
        _taken = 0
        """Bytes since a head, a piece of a body or a request ended; what came with that end is not counted."""
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unwatch()
            self._unset_keepalive_if_required()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if not (self._within or self._answering) and refusals.due:
                answer = refusals.of_bytes(data)
                if answer is not None:
                    self.transport.write(answer)
                    self.on_response_complete()
                    return
            rest = memoryview(data)
            while rest and not self.transport.is_closing():
                part, rest = rest[: HEAD_BYTES - self._taken], rest[HEAD_BYTES - self._taken :]
                self._taken += len(part)
                super().data_received(part)  # type: ignore[arg-type]  # the parser takes any buffer
                if self._taken >= HEAD_BYTES:
                    self._end(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a head has at most {HEAD_BYTES} bytes")
            self._watch()

        def on_message_begin(self) -> None:
            self._within = True
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._in_body, self._taken = True, 0
            self._unwatch()
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._taken = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._within, self._in_body, self._taken = False, False, 0
            self._unwatch()
            super().on_message_complete()

        @property
        def _answering(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _watch(self) -> None:
            """Have the connection closed if nothing more comes: uvicorn does so only after an answer."""
            if self._within:
                if self._timer is None:
                    self._timer = self.loop.call_later(BODY_SECONDS if self._in_body else HEAD_SECONDS, self._late)
            elif self.timeout_keep_alive_task is None and not self._answering:
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )

        def _unwatch(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _late(self) -> None:
            self._timer = None
            earlier = bool(self.pipeline) or (self._answering and not self._in_body)
            if earlier or self.flow.read_paused:  # it waits for an answer, or for whoever reads it
                self._watch()
            else:
                self._end(HTTPStatus.REQUEST_TIMEOUT, f"a head takes at most {HEAD_SECONDS:g} seconds")

        def _end(self, status: HTTPStatus, detail: str) -> None:
            """Close it; say why, where no answer has begun and none can."""
            if not (self._in_body or self._answering or self.transport.is_closing()):
                self.transport.write(refusals.of_head(status, detail))
            self.transport.close()

    return Refusing
