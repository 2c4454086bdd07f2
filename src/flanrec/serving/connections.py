"""Connections of uvicorn that refuse questions before they are parsed.

To parse a request and to start a task for it takes much longer than to say no.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from flanrec.serving.http.shedding import Refusals


def connections(refusals: Refusals) -> type[HttpToolsProtocol]:
    """The protocol of a service's connections."""

    class Refusing(HttpToolsProtocol):
        def data_received(self, data: bytes) -> None:
            free: Any = self.cycle is None or self.cycle.response_complete
            if free and refusals.due and (answer := refusals.of_bytes(data)) is not None:
                self.transport.write(answer)
                self.on_response_complete()
                return
            super().data_received(data)

    return Refusing
