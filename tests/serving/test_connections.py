"""Questions that are refused before they are parsed, and requests that do not end, over real connections."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("httptools")

import uvicorn

from flanrec.serving import connections as module
from flanrec.serving.connections import connections
from flanrec.serving.http import create_app
from flanrec.serving.service import Service
from flanrec.serving.settings import Queue, ServeSettings

BODY = b'{"user_id": "u1"}'
HEAD = b"POST /v1/recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
QUESTION = HEAD % len(BODY) + b"\r\n" + BODY


class Running:
    """A service that listens."""

    def __init__(self, service: Service, **options: Any) -> None:
        self.service = service
        app = create_app(service)
        http = connections(app.state.refusals)
        config = uvicorn.Config(app, port=0, http=http, log_config=None, lifespan="on", **options)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=lambda: asyncio.run(self.server.serve()), daemon=True)
        self.thread.start()
        self.until(lambda: self.server.started)

    def connect(self) -> socket.socket:
        port = self.server.servers[0].sockets[0].getsockname()[1]
        return socket.create_connection(("127.0.0.1", port), timeout=20)

    @staticmethod
    def until(there: Callable[[], bool]) -> None:
        until = time.monotonic() + 30
        while not there():
            assert time.monotonic() < until
            time.sleep(0.01)

    def end(self) -> None:
        self.server.should_exit = True
        self.thread.join(30)


class Busy(Running):
    """One whose model has one question and whose queue another, so that every further one is refused."""

    def __init__(self, service: Service) -> None:
        self.gate = threading.Event()
        answer = service.answerer.answer

        def slow(asked: Any) -> Any:
            self.gate.wait(60)
            return answer(asked)

        service.batcher._run = slow
        super().__init__(service)
        self.first, self.second = self.connect(), self.connect()
        self.first.sendall(QUESTION)
        self.until(lambda: not service.batcher._idle.is_set() and service.batcher.waiting == 0)
        self.second.sendall(QUESTION)
        self.until(lambda: service.batcher.full)

    def end(self) -> None:
        self.gate.set()
        super().end()


@pytest.fixture
def busy(make_service: Callable[..., Service]) -> Iterator[Busy]:
    found = Busy(make_service(ServeSettings(queue=Queue(waiting=1, deadline_ms=60_000))))
    yield found
    found.end()


SHORT = 0.3


@pytest.fixture(scope="module")
def one(make_service: Callable[..., Service]) -> Iterator[Running]:
    found = Running(make_service(), timeout_keep_alive=SHORT)
    yield found
    found.end()


@pytest.fixture
def running(one: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """Waits for nobody longer than `SHORT`, or twice that for a body."""
    monkeypatch.setattr(module, "HEAD_SECONDS", SHORT, raising=False)
    monkeypatch.setattr(module, "BODY_SECONDS", 2 * SHORT, raising=False)
    return one


def some(connection: socket.socket) -> bytes:
    """What comes next."""
    data = connection.recv(65_536)
    assert data, "closed"
    return data


def answer(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of the next answer."""
    read = b""
    while b"\r\n\r\n" not in read:
        read += some(connection)
    head, _, body = read.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += some(connection)
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
        both += some(connection)
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


LIVE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


def until_closed(connection: socket.socket, seconds: float = 3) -> bytes:
    """What comes before the other side closes."""
    connection.settimeout(seconds)
    read = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65_536):
            read += data
    return read


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"GET /livez HTTP/1.1\r\n", b"x: y\r\n"), (b"GET /livez HTTP/1.1\r\nx: ", b"y"), (b"GET /livez?", b"y"),
        (b"", b"\r\n"),
    ],
    ids=["lines", "value", "address", "nothing"],
)  # fmt: skip
@pytest.mark.parametrize("served", [False, True], ids=["first", "second"])
def test_a_head_without_end_is_refused_at_64_kib(running: Running, begin: bytes, more: bytes, served: bool) -> None:
    connection = running.connect()
    if served:
        connection.sendall(LIVE)
        assert answer(connection)[0] == 200
    counter = running.service.metrics.requests.labels("unknown", "other", "431")
    before = counter._value.get()
    connection.sendall((begin + more * 65_536)[:65_536])
    head, _, body = until_closed(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/problem+json")
    assert b"\r\nconnection: close" in head
    assert json.loads(body)["detail"] == "a head has at most 65536 bytes"
    assert counter._value.get() == before + 1


@pytest.mark.parametrize("begin", [b"0\r\n", b"1;"], ids=["trailers", "extension"])
def test_what_stands_around_a_body_has_an_end_too(running: Running, begin: bytes) -> None:
    connection = running.connect()
    connection.sendall(HEAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked") + b"\r\n" + begin)
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 16_000_000:
            connection.sendall(b"x: y\r\n" * 10_000 if begin == b"0\r\n" else b"y" * 60_000)
            sent += 60_000
    assert sent < 16_000_000


def test_a_head_of_64_kib_is_answered_and_the_body_with_it_is_no_part_of_it(running: Running) -> None:
    connection = running.connect()
    body = BODY.ljust(1_000_000)
    head = HEAD % len(body) + b"x: %s\r\n\r\n"
    for sent in (head % (b"y" * (65_536 - len(head) + 2)), head % b"y"):
        assert len(sent) <= 65_536
        connection.sendall(sent + body)
        assert answer(connection)[0] == 200


def test_bodies_and_heads_sent_at_once_are_told_apart_one_after_the_other(running: Running) -> None:
    connection = running.connect()
    body = BODY.ljust(100_000)
    connection.sendall((HEAD % len(body) + b"\r\n" + body + LIVE * 50) * 2)
    read = b""
    while read.count(b"HTTP/1.1 200") < 102:
        read += some(connection)
    assert read.count(b"HTTP/1.1") == 102


def test_a_connection_that_does_not_go_on_is_closed(running: Running) -> None:
    cases = {
        b"": b"",
        b"\r\n": b"",
        b"GET /livez HTTP/1.1\r\nHost: loc": b"HTTP/1.1 408 Request Timeout",
        QUESTION[:-1]: b"",
        HEAD % 2_000_000 + b"\r\n": b"HTTP/1.1 413 ",
        LIVE + b"GET ": b"HTTP/1.1 200 OK",
        LIVE + b"\r\n": b"HTTP/1.1 200 OK",
    }
    connections = {sent: running.connect() for sent in cases}
    for sent, connection in connections.items():
        connection.sendall(sent)
    for sent, connection in connections.items():
        assert until_closed(connection).startswith(cases[sent]), sent
    running.until(lambda: not running.server.server_state.connections)


def test_what_comes_after_an_early_answer_does_not_keep_a_connection(running: Running) -> None:
    connection = running.connect()
    connection.sendall(HEAD % 2_000_000 + b"\r\n")
    assert answer(connection)[0] == 413
    connection.sendall(b" " * 2_000_000)
    assert until_closed(connection) == b""


def test_drops_keep_no_head_and_no_body_open(running: Running) -> None:
    fed = [running.connect(), running.connect()]
    fed[0].sendall(b"GET /livez HTTP/1.1\r\nx: ")
    fed[1].sendall(HEAD % 1_000 + b"\r\n")
    until = time.monotonic() + 5
    while fed:
        assert time.monotonic() < until
        for connection in fed[:]:
            try:
                connection.sendall(b"y")
            except ConnectionError:
                fed.remove(connection)
        time.sleep(0.02)


def test_a_slow_client_is_answered_and_its_connection_serves_on(one: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD_SECONDS", 0.5)
    connection = one.connect()
    head = len(QUESTION) - len(BODY)
    connection.sendall(QUESTION[:20])
    time.sleep(0.1)
    connection.sendall(QUESTION[20:head])
    time.sleep(0.6)  # longer than a head may take
    connection.sendall(QUESTION[head:])
    assert answer(connection)[0] == 200
    for _ in range(3):
        connection.sendall(QUESTION)
        assert answer(connection)[0] == 200


def test_a_head_that_waits_behind_an_answer_is_not_late(busy: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD_SECONDS", 0.05)
    busy.first.sendall(b"GET /li")
    time.sleep(0.3)
    busy.gate.set()
    assert [answer(one)[0] for one in (busy.first, busy.second)] == [200, 200]
