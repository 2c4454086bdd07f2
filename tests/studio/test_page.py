"""The page over HTTP: what is there, what is not, and who may ask for it."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from flanrec.serving.http import create_app
from flanrec.serving.keys import new_key
from flanrec.serving.service import Service
from flanrec.serving.store.trail import Trace
from flanrec.studio import mount

BY = Trace("tests")


@pytest.fixture(scope="module")
def page(service: Service) -> Iterator[TestClient]:
    """A client of a service with the page, as from this machine."""
    app = create_app(service, pages=[mount])
    with TestClient(app, base_url="http://localhost", follow_redirects=False) as client:
        yield client


def basic(key: str, name: str = "me") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{key}".encode()).decode()}


def clicked(client: TestClient, number: int, data: list[Any], event: Any = None, **headers: str) -> list[Any]:
    """The outputs of one of the page's listeners, asked as its browser does."""
    body = {"data": data, "event_data": event, "fn_index": number, "session_hash": "s1", "trigger_id": 1}
    joined = client.post("/studio/gradio_api/queue/join", json=body, headers=headers)
    assert joined.status_code == 200, joined.text
    with client.stream("GET", "/studio/gradio_api/queue/data?session_hash=s1", headers=headers) as answer:
        for line in answer.iter_lines():
            if line.startswith("data:"):
                told = json.loads(line[5:])
                if told["msg"] == "process_completed":
                    assert told["success"], told
                    return list(told["output"]["data"])
    raise AssertionError("no answer came")


def listener(client: TestClient, name: str) -> int:
    """The number of the listener that has a component of this name among its triggers."""
    config = client.get("/studio/config").json()
    ids = {one["id"] for one in config["components"] if one["props"].get("elem_id") == name}
    return next(one["id"] for one in config["dependencies"] if any(target[0] in ids for target in one["targets"]))


def test_the_page_is_there_and_so_is_the_service(page: TestClient) -> None:
    assert page.get("/studio").headers["location"] == "/studio/"
    answer = page.get("/studio/")
    assert answer.status_code == 200
    assert "flanrec studio" in answer.text
    assert page.get("/readyz").status_code == 200
    assert page.post("/v1/recommend", json={"user_id": "u1"}).status_code == 200
    assert "/studio" not in page.get("/openapi.json").text


def test_without_the_page_gradio_is_not_imported() -> None:
    code = "import sys, flanrec.cli.serve, flanrec.studio; print('gradio' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_where_gradio_is_missing_the_extra_is_named(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flanrec.cli.main import main

    monkeypatch.setattr("flanrec.cli.serve.find_spec", lambda name: None)
    assert main(["serve", "--model", str(tmp_path), "--studio"]) == 2
    assert "flanrec[studio]" in capsys.readouterr().err


def test_the_page_may_load_nothing_from_elsewhere(page: TestClient) -> None:
    answer = page.get("/studio/")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy.replace("https:", "")
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    text = re.sub(r"<script[^>]*>.*?</script>", "", answer.text, flags=re.DOTALL)
    assert not re.findall(r"https?://", text)
    assert not re.findall(r"@import|fonts\.g", answer.text)


def test_only_scripts_with_the_nonce_of_this_answer_run(page: TestClient) -> None:
    first, second = page.get("/studio/"), page.get("/studio/")
    nonces = [re.search(r"'nonce-([^']+)'", one.headers["Content-Security-Policy"])[1] for one in (first, second)]  # type: ignore[index]
    assert nonces[0] != nonces[1]
    assert all(nonces[0] in tag for tag in re.findall(r"<script[^>]*>", first.text))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/upload"), ("GET", "/gradio_api/file=/etc/hostname"), ("GET", "/file=/etc/hostname"),
        ("GET", "/gradio_api/file/etc/hostname"), ("GET", "/gradio_api/info"), ("GET", "/gradio_api/openapi.json"),
        ("GET", "/openapi.json"), ("GET", "/gradio_api/proxy=https://example.org/"),
        ("POST", "/gradio_api/run/predict"), ("POST", "/gradio_api/call/users"), ("POST", "/gradio_api/api/predict"),
        ("POST", "/gradio_api/component_server"), ("GET", "/monitoring"), ("POST", "/login"), ("GET", "/logout"),
        ("GET", "/gradio_api/runs"), ("GET", "/gradio_api/deep_link"), ("POST", "/gradio_api/vibe-edit"),
        ("POST", "/gradio_api/process_recording"), ("GET", "/gradio_api/mcp/sse"), ("GET", "/manifest.json"),
        ("GET", "/static/../../../../etc/hostname"), ("GET", "/assets/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/hostname"),
        ("DELETE", "/"), ("GET", "/nothing"),
    ],
)  # fmt: skip
def test_what_the_page_does_not_need_is_not_there(page: TestClient, method: str, path: str) -> None:
    answer = page.request(method, "/studio" + path)
    assert answer.status_code in (403, 404), answer.status_code
    assert "root:" not in answer.text


def test_its_files_are_kept_by_browsers_and_nothing_else_is(page: TestClient) -> None:
    name = re.search(r"\./(assets/[^\"]+\.js)", page.get("/studio/").text)
    assert name is not None
    assert "max-age" in page.get(f"/studio/{name[1]}").headers["Cache-Control"]
    for path in ("/studio/", "/studio/config", "/v1/items"):
        assert page.get(path).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}]
)
def test_a_page_of_another_origin_cannot_click(page: TestClient, headers: dict[str, str]) -> None:
    body = {"data": [""], "fn_index": 0, "session_hash": "s1"}
    assert page.post("/studio/gradio_api/queue/join", json=body, headers=headers).status_code == 403
    own = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert page.post("/studio/gradio_api/queue/join", json=body, headers=own).status_code == 200


def test_a_click_is_answered_over_the_queue(page: TestClient) -> None:
    users, notice = clicked(page, listener(page, "fs-user"), ["u1"])
    assert 'data-item="u1"' in users
    assert 'data-item="u2"' not in users
    assert notice == ""


def test_a_click_has_no_more_bytes_than_any_request(page: TestClient) -> None:
    body = {"data": ["x" * 1_100_000], "fn_index": 0, "session_hash": "s1"}
    assert page.post("/studio/gradio_api/queue/join", json=body).status_code == 413


@pytest.fixture(scope="module")
def locked(make_service: Callable[..., Service]) -> Iterator[tuple[TestClient, Service]]:
    """A client of a service with the page that asks for keys."""
    service = make_service()
    with TestClient(create_app(service, keys=True, pages=[mount]), base_url="http://shop.example") as client:
        yield client, service


def key_of(service: Service, scope: str) -> str:
    made = new_key(scope, [scope], 600)
    service.store.keys.add(made.stored, BY)
    return made.text


def test_a_browser_is_asked_for_a_key_and_sends_it_as_password(locked: tuple[TestClient, Service]) -> None:
    client, service = locked
    for path in ("/studio", "/studio/", "/studio/config", "/studio/assets/index.js"):
        answer = client.get(path)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert client.get("/studio/", headers=basic(key_of(service, "admin"))).status_code == 200
    assert client.get("/studio/", headers={"Authorization": f"Bearer {key_of(service, 'admin')}"}).status_code == 200


@pytest.mark.parametrize("scope", ["read", "feedback"])
def test_the_page_needs_a_key_for_everything(locked: tuple[TestClient, Service], scope: str) -> None:
    client, service = locked
    assert client.get("/studio/", headers=basic(key_of(service, scope))).status_code == 403


@pytest.mark.parametrize("sent", ["Basic", "Basic %%%", "Basic bm9jb2xvbg==", "Basic bWU6ZnJfMQ==", "Digest x"])
def test_a_password_that_is_no_key_is_refused(locked: tuple[TestClient, Service], sent: str) -> None:
    client, _ = locked
    assert client.get("/studio/", headers={"Authorization": sent}).status_code == 401


def test_elsewhere_a_key_is_no_password(locked: tuple[TestClient, Service]) -> None:
    client, service = locked
    key = key_of(service, "admin")
    for path in ("/v1/items", "/metrics", "/studios"):
        answer = client.get(path, headers=basic(key))
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_streams_end_when_the_service_does(service: Service, page: TestClient) -> None:
    ended = threading.Event()

    def listen() -> None:
        with page.stream("GET", "/studio/gradio_api/heartbeat/s1") as answer:
            assert answer.status_code == 200
            for _ in answer.iter_lines():
                pass
        ended.set()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    time.sleep(0.5)
    assert not ended.is_set()
    service.ready = False
    try:
        assert ended.wait(5)
    finally:
        service.ready = True


def test_how_long_a_page_is_open_is_no_time_of_an_answer(service: Service, page: TestClient) -> None:
    def answers(name: str) -> float:
        found = re.findall(rf'^{name}{{.*route="/studio".*}} ([0-9.]+)$', service.metrics.text().decode(), re.MULTILINE)
        return sum(map(float, found))

    before = answers("flanrec_requests_total"), answers("flanrec_request_seconds_count")
    page.get("/studio/config")
    clicked(page, listener(page, "fs-user"), [""])  # asks for the config, joins the queue, and listens
    assert answers("flanrec_requests_total") == before[0] + 4
    assert answers("flanrec_request_seconds_count") == before[1] + 3
