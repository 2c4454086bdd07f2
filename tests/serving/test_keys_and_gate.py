"""Who may ask, and how much may be sent: told before any body is read."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from flanrec.errors import SettingsError
from flanrec.serving.http import create_app
from flanrec.serving.keys import new_key
from flanrec.serving.server import is_loopback, keys_needed
from flanrec.serving.service import Service
from flanrec.serving.settings import Limits, Queue, ServeSettings
from flanrec.serving.store.keys import StoredKey
from flanrec.serving.store.trail import Trace

BY = Trace("tests")


def key_of(service: Service, *scopes: str, per_minute: int = 600) -> str:
    made = new_key("shop", scopes, per_minute)
    service.store.keys.add(made.stored, BY)
    return made.text


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def locked(service: Service) -> Iterator[TestClient]:
    """A client of a service that asks for keys."""
    with TestClient(create_app(service, keys=True), base_url="http://shop.example") as client:
        yield client


def test_without_a_key_only_probes_are_answered(locked: TestClient) -> None:
    assert locked.get("/livez").status_code == 200
    assert locked.get("/readyz").status_code == 200
    for method, path in (("GET", "/v1/items"), ("POST", "/v1/recommend"), ("GET", "/metrics"), ("GET", "/version"),
                         ("GET", "/openapi.json"), ("GET", "/nothing")):  # fmt: skip
        answer = locked.request(method, path)
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_key_does_what_its_scopes_say_and_no_more(locked: TestClient, service: Service) -> None:
    read, feedback, admin = (key_of(service, scope) for scope in ("read", "feedback", "admin"))
    event = {"events": [{"user_id": "u1", "item_id": "i20"}]}
    table = [
        ("POST", "/v1/recommend", {"user_id": "u1"}, (200, 403, 200)),
        ("GET", "/v1/items/i3", None, (200, 403, 200)),
        ("POST", "/v1/feedback", event, (403, 200, 200)),
        ("PUT", "/v1/items/i3", {"title": "Kept"}, (403, 403, 200)),
        ("PATCH", "/v1/items/i3", {"title": "Kept"}, (403, 403, 200)),
        ("POST", "/v1/items", {"items": [{"item_id": "i3", "title": "Kept"}]}, (403, 403, 200)),
        ("GET", "/v1/users/u1", None, (403, 403, 200)),
        ("GET", "/v1/users/u1/events", None, (403, 403, 200)),
        ("GET", "/v1/users", None, (403, 403, 200)),
        ("DELETE", "/v1/items/i4", None, (403, 403, 204)),
        ("DELETE", "/v1/users/u7", None, (403, 403, 204)),
    ]
    for method, path, body, expected in table:
        for key, status in zip((read, feedback, admin), expected, strict=True):
            answer = locked.request(method, path, json=body, headers=bearer(key))
            assert answer.status_code == status, (method, path, answer.text)


@pytest.mark.parametrize("wrong", ["", "x", "fr_0123456789ab_" + "A" * 43, "fr_zzz", "é" * 50])
def test_a_key_that_is_none_is_refused(locked: TestClient, wrong: str) -> None:
    answer = locked.get("/v1/items", headers={"Authorization": f"Bearer {wrong}".encode()})
    assert answer.status_code == 401


def test_the_right_id_with_another_secret_is_refused(locked: TestClient, service: Service) -> None:
    key = key_of(service, "read")
    assert locked.get("/v1/items", headers=bearer(key[:-1] + ("A" if key[-1] != "A" else "B"))).status_code == 401
    assert locked.get("/v1/items", headers={"Authorization": f"Basic {key}"}).status_code == 401


def test_a_key_is_recognised_while_all_other_threads_are_taken(service: Service) -> None:
    key, free = key_of(service, "read"), threading.Event()

    async def ask() -> list[StoredKey | None]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        taken = asyncio.ensure_future(asyncio.to_thread(free.wait, 30))
        try:
            looked_up = await asyncio.wait_for(service.recogniser.recognised(key), 10)
            with pytest.raises(StopIteration) as remembered:  # the answer comes at once, without a thread
                service.recogniser.recognised(key).send(None)
            return [looked_up, remembered.value.value, await service.recogniser.recognised("no key")]
        finally:
            free.set()
            await taken

    looked_up, remembered, wrong = asyncio.run(ask())
    assert looked_up is not None
    assert remembered == looked_up
    assert wrong is None


def test_a_revoked_key_ends_within_two_seconds(
    locked: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = key_of(service, "read")
    assert locked.get("/v1/items", headers=bearer(key)).status_code == 200
    service.store.keys.revoke(key.split("_")[1], BY)
    monkeypatch.setattr("flanrec.serving.keys.time.monotonic", lambda: 1e12)
    assert locked.get("/v1/items", headers=bearer(key)).status_code == 401


def test_a_key_makes_so_many_requests_a_minute_and_another_key_its_own(locked: TestClient, service: Service) -> None:
    few, other = key_of(service, "read", per_minute=3), key_of(service, "read", per_minute=3)
    answers = [locked.get("/v1/items", headers=bearer(few)) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 61
    assert locked.get("/v1/items", headers=bearer(other)).status_code == 200


def test_no_key_is_kept_or_logged(locked: TestClient, service: Service, caplog: pytest.LogCaptureFixture) -> None:
    key = key_of(service, "admin")
    with caplog.at_level("DEBUG"):
        locked.put("/v1/users/mia", json={"attributes": {"town": "Łódź"}}, headers=bearer(key))
        locked.post("/v1/recommend", json={"user_id": "mia", "k": 0}, headers=bearer(key))
    secret = key.split("_", 2)[2]
    with service.store.database.reading() as connection:
        rows = (
            connection.exec_driver_sql("SELECT * FROM keys").all()
            + connection.exec_driver_sql("SELECT * FROM audit").all()
        )
    told = (
        str(rows)
        + caplog.text
        + "".join(str(vars(record)) for record in caplog.records if record.name.startswith("flanrec"))
    )
    assert secret not in told
    assert "Łódź" not in told


def test_changes_are_in_the_audit_log_by_the_name_of_the_key(locked: TestClient, service: Service) -> None:
    key = key_of(service, "admin")
    locked.put("/v1/items/i3", json={"title": "Kept"}, headers={**bearer(key), "X-Request-ID": "mine-7"})
    newest = service.store.trail.page(limit=1).records[0]
    assert (newest.actor, newest.action, newest.target, newest.request_id) == ("shop", "replace item", "i3", "mine-7")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8000", ""])
def test_on_this_machine_only_its_own_names_are_served(service: Service, host: str) -> None:
    with TestClient(create_app(service), base_url="http://localhost") as client:
        assert client.get("/v1/items", headers={"Host": host}).status_code == 421
        assert client.get("/v1/items", headers={"Host": "127.0.0.1:8000"}).status_code == 200
        assert client.get("/v1/items", headers={"Host": "[::1]:8000"}).status_code == 200


def test_a_form_of_another_page_cannot_ask(untouched: TestClient) -> None:
    body = json.dumps({"user_id": "u1"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        headers = {} if kind is None else {"Content-Type": kind}
        answer = untouched.post("/v1/recommend", content=body, headers=headers)
        assert answer.status_code in (415, 422), (kind, answer.text)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "shop.example"])
def test_beyond_this_machine_the_service_does_not_start_without_keys(service: Service, host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(SettingsError, match=f"make one with flanrec keys create --store {service.store.database}"):
        keys_needed(service.store, host, False)
    with pytest.raises(SettingsError, match=r"create --store \S+$"):
        keys_needed(service.store, "127.0.0.1", True)
    assert not keys_needed(service.store, "127.0.0.1", False)


def test_a_service_whose_keys_are_all_revoked_does_not_start_there_either(service: Service) -> None:
    key = key_of(service, "read")
    service.store.keys.revoke(key.split("_")[1], BY)
    with pytest.raises(SettingsError, match="needs API keys"):
        keys_needed(service.store, "0.0.0.0", False)
    key_of(service, "read")
    assert keys_needed(service.store, "0.0.0.0", False)


def test_a_key_needs_a_scope_that_there_is() -> None:
    with pytest.raises(SettingsError, match="read, feedback, admin"):
        new_key("shop", ["write"])
    with pytest.raises(SettingsError, match="none"):
        new_key("shop", [])


@pytest.fixture(scope="module")
def small(make_service: Callable[..., Service]) -> Iterator[TestClient]:
    """A client of a service that takes little."""
    limits = Limits(
        body_bytes=4_096, k=10, history=5, text=20, batch=3, feedback=3, page=10, candidates=5, item_text=30
    )
    with TestClient(create_app(make_service(ServeSettings(limits=limits))), base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/recommend", {"user_id": "u1", "k": 11}),
        ("/v1/recommend", {"history": ["i1"] * 6}),
        ("/v1/recommend", {"user_id": "u1", "wish": "x" * 21}),
        ("/v1/recommend", {"user_id": "u1", "exclude": ["i1"] * 6}),
        ("/v1/recommend", {"user_id": "u1", "attributes": {"town": "x" * 21}}),
        ("/v1/recommend", {"user_id": "u1", "filters": {"columns": {"category": ["x" * 21]}}}),
        ("/v1/recommend/batch", {"requests": [{"user_id": "u1"}] * 4}),
        ("/v1/rank", {"user_id": "u1", "items": ["i1"] * 6}),
        ("/v1/match", {"user_id": "u1", "items": ["i1"] * 4}),
        ("/v1/explain", {"user_id": "u1", "item": "x" * 21}),
        ("/v1/feedback", {"events": [{"user_id": "u1", "item_id": "i1"}] * 4}),
        ("/v1/feedback", {"events": [{"user_id": "u1", "item_id": "i1", "review": "x" * 31}]}),
        ("/v1/items", {"items": [{"item_id": "n", "title": "x" * 21}]}),
        ("/v1/items", {"items": [{"item_id": "n", "title": "x", "category": ["x" * 21]}]}),
        ("/v1/items", {"items": [{"item_id": "n", "title": "x", "attributes": {"a": "x" * 21}}]}),
        ("/v1/items", {"items": [{"item_id": "n", "title": "x", "text": "x" * 31}]}),
    ],
)
def test_what_is_beyond_a_limit_is_refused_and_the_limit_is_told(small: TestClient, path: str, body: Any) -> None:
    answer = small.post(path, json=body)
    assert answer.status_code == 422
    assert "more than this service takes" in answer.json()["detail"]


def test_pages_have_a_limit_too(small: TestClient) -> None:
    assert small.get("/v1/items", params={"limit": 11}).status_code == 422
    assert small.get("/v1/users", params={"limit": 11}).status_code == 422
    assert small.get("/v1/items/i7/similar", params={"k": 11}).status_code == 422


def test_a_body_that_says_it_is_too_large_is_refused(small: TestClient) -> None:
    assert small.post("/v1/recommend", content=b" " * 5_000).status_code == 413


def test_a_body_that_grows_too_large_in_chunks_is_refused_before_it_is_whole(small: TestClient) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1_000):
            sent += 1_000
            yield b" " * 1_000

    answer = small.post("/v1/recommend", content=chunks(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


async def _never_read() -> MutableMapping[str, Any]:
    raise AssertionError("the body was read")


@pytest.mark.parametrize("headers", [[], [(b"authorization", b"Bearer fr_0123456789ab_" + b"A" * 43)]])
def test_a_body_is_not_read_before_it_is_known_who_sends_it(service: Service, headers: list[Any]) -> None:
    app, sent = create_app(service, keys=True), []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/recommend", "raw_path": b"/v1/recommend", "query_string": b"",
        "headers": [(b"host", b"shop.example"), (b"transfer-encoding", b"chunked"), *headers], "state": {},
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "scheme": "http", "http_version": "1.1",
        "root_path": "",
    }  # fmt: skip
    asyncio.run(app(scope, _never_read, send))
    assert sent[0]["status"] == 401


def test_a_full_queue_answers_429_with_when_to_come_again(make_service: Callable[..., Service]) -> None:
    service = make_service(ServeSettings(queue=Queue(waiting=1, deadline_ms=60_000)))
    entered, gate, answer = threading.Event(), threading.Event(), service.answerer.answer

    def slow(asked: Any) -> Any:
        entered.set()
        gate.wait(30)
        return answer(asked)

    service.batcher._run = slow
    with TestClient(create_app(service), base_url="http://localhost") as client:
        answers: list[Any] = []

        def ask() -> None:
            answers.append(client.post("/v1/recommend", json={"user_id": "u1"}))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        threads[0].start()
        assert entered.wait(20)  # the model has the first
        for thread in threads[1:]:
            thread.start()
        until = time.monotonic() + 20
        while len(answers) < 4 and time.monotonic() < until:
            time.sleep(0.01)
        assert client.get("/livez").status_code == 200
        named = client.post("/v1/match", content=b"not even JSON", headers={"X-Request-ID": "mine"})
        assert (named.status_code, named.headers["X-Request-ID"], named.json()["request_id"]) == (429, "mine", "mine")
        gate.set()
        for thread in threads:
            thread.join()
        counted = {"route": "/v1/match", "method": "POST", "status": "429"}
        assert service.metrics.registry.get_sample_value("flanrec_requests_total", counted) == 1
        assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429, 429, 429]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        assert client.post("/v1/recommend", json={"user_id": "u1"}).status_code == 200


def test_an_answer_that_comes_too_late_is_504(make_service: Callable[..., Service]) -> None:
    service = make_service()
    gate, answer = threading.Event(), service.answerer.answer

    def slow(asked: Any) -> Any:
        gate.wait(20)
        return answer(asked)

    service.batcher._run = slow
    with TestClient(create_app(service), base_url="http://localhost") as client:
        assert client.post("/v1/recommend", json={"user_id": "u1", "deadline_ms": 50}).status_code == 504
        gate.set()
        assert client.post("/v1/recommend", json={"user_id": "u1"}).status_code == 200
