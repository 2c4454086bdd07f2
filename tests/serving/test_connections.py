"""Questions that are refused before they are parsed, over real connections."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("httptools")

import uvicorn

from flanrec.serving.connections import connections
from flanrec.serving.http import create_app
from flanrec.serving.service import Service
from flanrec.serving.settings import Queue, ServeSettings

BODY = b'{"user_id": "u1"}'
HEAD = b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
QUESTION = HEAD % len(BODY) + b"\r\n" + BODY


class Busy:
    """A service whose model has one question and whose queue another, so that every further one is refused."""

    def __init__(self, service: Service) -> None:
        self.service, self.gate = service, threading.Event()
        answer = service.answerer.answer

        def slow(asked: Any) -> Any:
            self.gate.wait(60)
            return answer(asked)

        service.batcher._run = slow
        app = create_app(service)
        config = uvicorn.Config(app, port=0, http=connections(app.state.refusals), log_config=None, lifespan="on")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve()), daemon=True)
        self.thread.start()
        self._until(lambda: self.server.started)
        self.first, self.second = self.connect(), self.connect()
        self.first.sendall(QUESTION)
        self._until(lambda: not service.batcher._idle.is_set() and service.batcher.waiting == 0)
        self.second.sendall(QUESTION)
        self._until(lambda: service.batcher.full)

    def connect(self) -> socket.socket:
        port = self.server.servers[0].sockets[0].getsockname()[1]
        return socket.create_connection(("127.0.0.1", port), timeout=20)

    @staticmethod
    def _until(there: Callable[[], bool]) -> None:
        until = time.monotonic() + 30
        while not there():
            assert time.monotonic() < until
            time.sleep(0.01)

    def end(self) -> None:
        self.gate.set()
        self.server.should_exit = True
        self.thread.join(30)


@pytest.fixture
def busy(make_service: Callable[..., Service]) -> Iterator[Busy]:
    found = Busy(make_service(ServeSettings(queue=Queue(waiting=1, deadline_ms=60_000))))
    yield found
    found.end()


def answer(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of the next answer."""
    read = b""
    while b"\r\n\r\n" not in read:
        read += connection.recv(65_536)
    head, _, body = read.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65_536)
    assert len(body) == int(headers["content-length"])
    return int(status.split()[1]), headers, json.loads(body)


def test_a_refused_question_is_told_when_to_come_again_and_its_connection_stays(busy: Busy) -> None:
    connection = busy.connect()
    ids = set()
    for _ in range(3):
        connection.sendall(QUESTION)
        status, headers, body = answer(connection)
        assert (status, body["status"], body["title"]) == (429, 429, "Too Many Requests")
        assert int(headers["retry-after"]) >= 1
        assert headers["content-type"] == "application/problem+json"
        assert headers["x-request-id"] == body["request_id"]
        ids.add(body["request_id"])
    assert len(ids) == 3
    counted = {"route": "/v1/recommend", "method": "POST", "status": "429"}
    assert busy.service.metrics.registry.get_sample_value("flanrec_requests_total", counted) == 3
    busy.gate.set()
    assert [answer(one)[0] for one in (busy.first, busy.second)] == [200, 200]
    connection.sendall(QUESTION)
    assert answer(connection)[0] == 200


def test_what_is_not_one_whole_plain_question_is_parsed_first(busy: Busy) -> None:
    connection = busy.connect()
    connection.sendall(QUESTION[:60])
    time.sleep(0.05)
    connection.sendall(QUESTION[60:])  # in two parts
    assert answer(connection)[0] == 429
    connection.sendall(HEAD % len(BODY) + b"X-Request-ID: mine\r\n\r\n" + BODY)
    status, headers, _ = answer(connection)
    assert (status, headers["x-request-id"]) == (429, "mine")
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer(connection)[0] == 200
    connection.sendall(QUESTION + QUESTION)  # two at once: parsed one by one, and refused in turn
    both = b""
    while both.count(b"HTTP/1.1 429") < 2:
        both += connection.recv(65_536)
    connection.close()


def test_a_body_that_looks_like_a_question_is_none(busy: Busy) -> None:
    connection = busy.connect()
    # Refused by its head; what follows is its body, though it looks like a question.
    connection.sendall(HEAD % len(QUESTION) + b"\r\n")
    assert answer(connection)[0] == 429
    connection.sendall(QUESTION)
    time.sleep(0.1)
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer(connection)[0] == 200


def test_a_header_that_looks_like_a_question_is_none(busy: Busy) -> None:
    connection = busy.connect()
    connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Words: ")
    time.sleep(0.1)
    connection.sendall(QUESTION.partition(BODY)[0].replace(b"%d" % len(BODY), b"0"))
    assert answer(connection)[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        QUESTION[:-1], QUESTION + b"x", QUESTION.replace(b"recommend", b"items"), QUESTION.replace(b"POST", b"PUT"),
        QUESTION.replace(b"Content-Length", b"Content-Size"), b"POST /v1/recommend HTTP/1.1\r\n\r\n", b"",
        QUESTION.replace(b"Content-Type: application/json", b"Transfer-Encoding: chunked"),
        QUESTION.replace(b"Content-Type: application/json", b"Expect: 100-continue"),
        QUESTION.replace(b"Content-Type: application/json", b"Connection: close"),
    ],
)  # fmt: skip
def test_only_a_whole_plain_question_is_refused_by_its_bytes(service: Service, data: bytes) -> None:
    refusals = create_app(service).state.refusals
    assert refusals.of_bytes(data) is None
    assert refusals.of_bytes(QUESTION) is not None
