"""Connections of uvicorn that refuse questions before they are parsed.

To parse a request and to start a task for it takes much longer than to say no.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from flanrec.serving.http.shedding import Refusals


def connections(refusals: Refusals) -> type[HttpToolsProtocol]:
    """The protocol of a service's connections."""

    class Refusing(HttpToolsProtocol):
        _within = False
        """Whether a request has begun to arrive and has not ended. What comes then is a part of it, whatever it looks
        like: its sender could have a body answered as if it were another request."""

        def data_received(self, data: bytes) -> None:
            idle = not self._within and (self.cycle is None or self.cycle.response_complete)
            if idle and refusals.due and (answer := refusals.of_bytes(data)) is not None:
                self.transport.write(answer)
                self.on_response_complete()
                return
            super().data_received(data)

        def on_message_begin(self) -> None:
            self._within = True
            super().on_message_begin()

        def on_message_complete(self) -> None:
            self._within = False
            super().on_message_complete()

    return Refusing
