"""Every text field of the service, as its own description lists them: no text in any of them breaks it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, example, given
from hypothesis import settings as asked
from hypothesis import strategies as st
from postgresql_server import Database as Server
from text_fields import Description, Field, request_of

from flanrec.serving.http import create_app
from flanrec.serving.service import Service
from flanrec.serving.settings import Limits, Queue, ServeSettings
from flanrec.serving.store import Store

SOME: list[Any] = ["a\0b", "x\udfff\ud83d", "</s><pad><extra_id_0>", "\u202e👩‍👩‍👧‍👦 العربية", "../..", "²", 7, None]
MORE: list[Any] = [
    "", " ", "--5",
    "\0", "\ud800", "👩‍👩‍👧‍👦" * 50, "ﷺ" * 300, "e" + "\u0301" * 500, "\x1b[31m\x7f\x85", "<extra_id_0>",
    "<script>alert(1)</script>", "'; DROP TABLE users; --", "../../etc/passwd", "/", "%00%2e%2e", "NaN", "1e999",
    "\ufeff", "\u2028\u2029", "9" * 5_000, "\n" * 3_000, "{{7*7}}${7*7}", -1, 10**30, 1.5, True, [], {}, ["i3"],
    {"a": "b"},
]  # fmt: skip
LONG = ["x" * 1_000_000, "👩‍👩‍👧‍👦 " * 120_000, "a b " * 250_000, "\n" * 1_000_000]


@pytest.fixture(scope="module")
def attacked(make_service: Callable[..., Service], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a service that takes everything that comes, and tells what a server would."""
    settings = ServeSettings(queue=Queue(deadline_ms=60_000))
    with _client(make_service(settings, shelf=tmp_path_factory.mktemp("shelf"))) as client:
        yield client


@pytest.fixture(scope="module")
def generous(make_service: Callable[..., Service]) -> Iterator[TestClient]:
    """One of a service that lets in almost anything."""
    most = dict.fromkeys(Limits.model_fields, 10_000_000) | {"body_bytes": 100_000_000}
    with _client(make_service(ServeSettings(limits=Limits(**most), queue=Queue(deadline_ms=300_000)))) as client:
        yield client


@pytest.fixture(scope="module")
def description(attacked: TestClient) -> Description:
    return Description(attacked.get("/openapi.json").json())


def _short(text: Any) -> str:
    return ascii(text)[:20]


def _client(service: Service) -> TestClient:
    return TestClient(create_app(service), base_url="http://localhost", raise_server_exceptions=False)


def send(client: TestClient, description: Description, field: Field, text: Any) -> Any:
    """Send a text and see that it is answered as it has to be."""
    answer = client.request(**request_of(description, field, text))
    told = f"{field} {text!r:.60}: {answer.status_code} {answer.text[:300]}"
    assert answer.status_code < 500, told
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json", told
        assert answer.json()["detail"], told
    assert all(status < 500 for status in statuses(answer)), told
    return answer


def statuses(answer: Any) -> list[int]:
    """Of an answer, and of those in a batch."""
    if not answer.content or "json" not in answer.headers["Content-Type"]:
        return [answer.status_code]
    body = answer.json()
    return [answer.status_code, *(one.get("status", 200) for one in body.get("answers", []))]


def test_the_fields_are_found(description: Description) -> None:
    found = {str(field) for field in description.fields()}
    assert found >= {
        "POST /v1/recommend body wish", "POST /v1/recommend body history.[]", "GET /v1/items query containing",
        "POST /v1/recommend body filters.columns.{}.[]", "POST /v1/recommend/batch body requests.[].attributes.{key}",
        "POST /v1/feedback body events.[].review", "POST /v1/feedback header Idempotency-Key",
        "PUT /v1/items/{item_id} body category.[]", "DELETE /v1/users/{user_id} path user_id",
        "PUT /v1/models/{name} body folder",
    }  # fmt: skip
    assert len(found) > 90


def test_a_good_text_is_taken_in_every_field(attacked: TestClient, description: Description) -> None:
    """What the other tests spoil is good itself, so that strange texts come as far as texts can."""
    good = {"cursor": "Mw", "limit": "5", "k": "5", "days": "7", "by": "content", "reading": "fused"}
    good |= {"state": "open", "decision": "keep", "number": "1"}
    for field in description.fields():
        text = "category" if field.name[-2:] == ("columns", "{key}") else good.get(field.name[-1], "i9")
        answer = send(attacked, description, field, text)
        # There is no user i9, no folder i9, and no model of this name; a case is decided once.
        assert answer.status_code in (200, 201, 204, 404, 409), (str(field), answer.text)


@pytest.mark.parametrize("text", SOME + [pytest.param(text, marks=pytest.mark.slow) for text in MORE], ids=_short)
def test_no_strange_text_breaks_any_field(attacked: TestClient, description: Description, text: Any) -> None:
    for field in description.fields():
        if isinstance(text, str) or (field.where == "body" and field.name[-1] != "{key}"):
            send(attacked, description, field, text)
    assert attacked.get("/readyz").status_code == 200


@pytest.mark.slow
def test_no_strange_text_breaks_any_field_before_postgresql(
    database: Server, model_folder: Path, description: Description
) -> None:
    """It takes less than SQLite: no NUL, no number that is too large."""
    store = Store.open(database.address())
    service = Service(store, {"default": model_folder}, ServeSettings(queue=Queue(deadline_ms=60_000)))
    with _client(service) as client:
        for text in [text for text in SOME + MORE if isinstance(text, str)]:
            for field in description.fields():
                send(client, description, field, text)
    store.close()


@asked(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(max_size=300), which=st.integers(0, 10_000))
@example(text="\ud800", which=0)
def test_no_text_at_all_does(attacked: TestClient, description: Description, text: str, which: int) -> None:
    fields = description.fields()
    send(attacked, description, fields[which % len(fields)], text)


@pytest.mark.slow
@pytest.mark.parametrize("text", LONG, ids=["letters", "emoji", "words", "lines"])
def test_a_very_long_text_is_refused_in_every_field(attacked: TestClient, description: Description, text: str) -> None:
    for field in description.fields():
        if field.where in ("body", "header"):  # no address is so long
            answer = send(attacked, description, field, text)
            assert {413, 422} & set(statuses(answer)), (str(field), answer.status_code)


@pytest.mark.slow
@pytest.mark.parametrize("text", LONG, ids=["letters", "emoji", "words", "lines"])
def test_where_it_is_let_in_it_breaks_nothing(generous: TestClient, description: Description, text: str) -> None:
    for field in description.fields():
        if field.where == "body":
            send(generous, description, field, text)


@pytest.mark.parametrize(
    "sent",
    [b"", b"{", b"[" * 100_000, b'{"k": ' + b"9" * 5_000 + b"}", b'{"k": NaN}', b'{"k": 1e999}', b"\xff\xfe", b"null",
     b'{"user_id": "u1", "user_id": "u2"}', b'{"attributes": {"a": Infinity}}', json.dumps("x").encode()],
)  # fmt: skip
def test_no_body_breaks_the_service(attacked: TestClient, sent: bytes) -> None:
    answer = attacked.post("/v1/recommend", content=sent, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400, 422), answer.text[:300]
