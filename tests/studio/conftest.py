"""A service as in its own tests, answering in the background, and the page on it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("sqlalchemy")
pytest.importorskip("gradio", reason="the studio needs gradio: pip install 'flanrec[studio]'")

from serving_fixtures import make_service, model_folder

from flanrec.serving.service import Service

__all__ = ["alone", "make_service", "model_folder", "run", "service"]

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@contextlib.contextmanager
def answering(service: Service) -> Iterator[Run]:
    """Runs something while a service answers."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    run(service.start())
    yield run
    run(service.stop())
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture(scope="module")
def service(make_service: Callable[..., Service]) -> Service:
    """One for all tests of a file, each of which keeps to users and items of its own."""
    return make_service()


@pytest.fixture(scope="module")
def run(service: Service) -> Iterator[Run]:
    """Runs something while it answers."""
    with answering(service) as found:
        yield found


@pytest.fixture
def alone(make_service: Callable[..., Service]) -> Iterator[tuple[Service, Run]]:
    """One for a single test, and what runs something while it answers."""
    own = make_service()
    with answering(own) as found:
        yield own, found
