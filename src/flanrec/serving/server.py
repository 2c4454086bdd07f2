"""Runs the service in a process: where it listens, how it ends."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Sequence
from types import FrameType
from typing import Any

import uvicorn

from flanrec.errors import SettingsError
from flanrec.serving.http import create_app
from flanrec.serving.http.app import Page
from flanrec.serving.http.gate import LOOPBACK
from flanrec.serving.http.shedding import Refusals
from flanrec.serving.service import Service
from flanrec.serving.store import Store

logger = logging.getLogger(__name__)

_KEEP_ALIVE_SECONDS = 75


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def keys_needed(store: Store, host: str, asked: bool) -> bool:
    """Whether API keys are needed where a service listens: beyond this machine always, on it where it is asked for.

    Raises
    ------
    SettingsError
        They are, and the store has none.
    """
    needed = asked or not is_loopback(host)
    if needed and all(key.revoked for key in store.keys.all()):
        other = "" if is_loopback(host) else ", or serve on 127.0.0.1"
        raise SettingsError(
            f"on {host} the service needs API keys, and its store has none: make one with flanrec keys create "
            f"--store {store.database}{other}"
        )
    return needed


def listening_at(host: str, port: int) -> socket.socket:
    """A socket at an address, which takes connections as soon as a service runs on it.

    Parameters
    ----------
    port
        0 for a free one.

    Raises
    ------
    SettingsError
        There is no such address on this machine, or something else listens there.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as problem:
        raise SettingsError(f"cannot listen on {host}, port {port}: {problem.strerror}; give another one") from None
    return found


def run(
    service: Service, at: socket.socket, host: str, *, keys: bool = False, notice_seconds: float = 0.0,
    pages: Sequence[Page] = (),
) -> None:  # fmt: skip
    """Serve until SIGTERM or SIGINT.

    Then ``/readyz`` says so at once, after `notice_seconds` no connection is taken any more, and what is under way is
    answered. A second signal ends it at once. This is not uvicorn's own way, which dies by the signal in the end.

    Parameters
    ----------
    at
        Where it listens; see `listening_at`.
    host
        The same as it was given.
    keys
        See `keys_needed`.
    pages
        As `create_app` takes them.

    Raises
    ------
    KeyboardInterrupt
        It ended in order, by SIGINT.
    """
    service.settled = keep_out_of_collections
    app = create_app(service, keys=keys, hosts=LOOPBACK, pages=pages)
    config = uvicorn.Config(
        app,
        host=host,
        http=_protocol(app.state.refusals),
        ws="none",  # there are none, and the connection of one would be taken for an idle one
        log_config=None,
        access_log=False,  # it would write addresses, which have user ids in them
        server_header=False,
        # Longer than clients and proxies keep a connection that nothing comes over: else one is closed as it is used.
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(service.settings.drain_seconds)),
    )
    server = _Server(config, service, notice_seconds)
    server.run([at])
    if server.signal == signal.SIGINT:
        raise KeyboardInterrupt


def keep_out_of_collections() -> None:
    """Have the garbage collector pass over all that is there now.

    Models are some hundred thousand objects that stay. To look through them takes a third of a second, in which nobody
    is answered, and Python would do it again and again. What they no longer need goes first.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _protocol(refusals: Refusals) -> Any:
    try:
        from flanrec.serving.connections import connections
    except ImportError:  # no httptools: questions are parsed before they are refused
        return "auto"
    return connections(refusals)


class _Server(uvicorn.Server):
    """Says that it is not ready before it stops to listen, so that whoever sends requests here can turn away."""

    def __init__(self, config: uvicorn.Config, service: Service, notice_seconds: float) -> None:
        super().__init__(config)
        self._service = service
        self._notice_seconds = notice_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self.signal: int | None = None

    async def startup(self, *arguments: object, **named: object) -> None:
        """Listen, and say where."""
        self._loop = asyncio.get_running_loop()
        await super().startup(*arguments, **named)  # type: ignore[arg-type]
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            logger.info("serving on http://%s:%d", self.config.host, port)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal ends it in order, the second at once."""
        if self._loop is None:
            self.should_exit = self.force_exit = True
            return
        if self.signal is not None:
            logger.warning("ended at once, by a second signal; what was under way is not answered")
            # No thread is waited for and nothing is tidied up, as with SIGKILL, which a store must survive anyway.
            os._exit(128 + sig)
        self.signal = sig
        self._service.ready = False
        logger.info("ending: not ready any more, and closed in %g s", self._notice_seconds)
        self._loop.call_soon_threadsafe(self._loop.call_later, self._notice_seconds, self._stop)

    def _stop(self) -> None:
        self.should_exit = True
