"""The client: every method against the real service, and what it does when the service cannot answer."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from flanrec.serving.client import Client, ServiceError


@pytest.fixture
def service_client(client: TestClient) -> Client:
    return Client(http=client)


def test_every_method_asks_what_it_says(service_client: Client) -> None:
    one = service_client
    listed = one.recommend(user_id="u1", k=3)
    first = listed["items"][0]["item_id"]
    assert [len(answer["items"]) for answer in one.recommend_many([{"user_id": "u1", "k": 2}, {"k": 4}])] == [2, 4]
    assert one.rank(["i5", "i6"], user_id="u1")["items"][0]["rank"] == 1
    assert set(one.match(["i5", "i6"], user_id="u1")) == {"i5", "i6"}
    assert one.explain(first, user_id="u1")["item_id"] == first
    assert len(one.similar("i5", k=4, by="behaviour")["items"]) == 4
    events = [{"user_id": "mia/1", "item_id": first, "request_id": listed["request_id"]}]
    assert one.feedback(events)["new"] == 1
    assert [event["item_id"] for event in one.events("mia/1")] == [first]
    assert one.put_items([{"item_id": "n/1", "title": "A newcomer"}]) == {"created": 1, "replaced": 0}
    assert one.patch_item("n/1", year=2001)["year"] == 2001
    assert "n/1" in [item["item_id"] for item in one.items()]
    one.delete_item("n/1")
    assert one.put_user("mia/1", {"age": 30})["attributes"] == {"age": 30}
    one.delete_user("mia/1")
    assert list(one.events("mia/1")) == []
    assert one.version()["models"][0]["name"] == "default"


def test_what_is_refused_is_raised_with_the_reason(service_client: Client) -> None:
    with pytest.raises(ServiceError, match="there is no item 'nothing'") as told:
        service_client.similar("nothing")
    assert told.value.status == 404
    assert told.value.request_id


class Unsteady(httpx.BaseTransport):
    """Answers with what it was given, in turn; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.seen: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr("flanrec.serving.client.time.sleep", found.append)
    return found


def test_a_busy_service_is_asked_again_when_it_says(pauses: list[float]) -> None:
    busy = httpx.Response(429, headers={"Retry-After": "3"}, json={})
    transport = Unsteady(busy, busy, {"items": []})
    client = Client(http=httpx.Client(transport=transport, base_url="http://service"))
    assert client.recommend(user_id="u1") == {"items": []}
    assert pauses == [3.0, 3.0]


def test_a_report_is_sent_again_under_the_same_key(pauses: list[float]) -> None:
    transport = Unsteady(httpx.ReadTimeout("lost"), httpx.ConnectError("gone"), {"new": 1})
    client = Client(http=httpx.Client(transport=transport, base_url="http://service"))
    assert client.feedback([{"user_id": "u1", "item_id": "i1"}]) == {"new": 1}
    assert len({request.headers["Idempotency-Key"] for request in transport.seen}) == 1
    assert len(pauses) == 2
    assert pauses[0] < 0.3


def test_what_may_have_been_acted_on_is_not_sent_twice(pauses: list[float]) -> None:
    for act in (lambda one: one.ask_for_review("i1"), lambda one: one.decide(3, "keep")):
        transport = Unsteady(httpx.ConnectError("gone"), httpx.ReadTimeout("lost"), {"number": 3})
        with pytest.raises(ServiceError, match="ReadTimeout") as told:
            act(Client(http=httpx.Client(transport=transport, base_url="http://service")))
        assert told.value.lost
        assert len(transport.seen) == 2


def test_what_was_deleted_by_a_request_whose_answer_was_lost_is_deleted(pauses: list[float]) -> None:
    gone = httpx.Response(404, json={"detail": "there is no item 'i1'", "request_id": "r"})
    transport = Unsteady(httpx.ReadTimeout("lost"), gone, httpx.ConnectError("gone"), gone)
    client = Client(http=httpx.Client(transport=transport, base_url="http://service"))
    client.delete_item("i1")
    with pytest.raises(ServiceError, match="404"):
        client.delete_user("u1")


def test_it_gives_up_after_so_many_tries(pauses: list[float]) -> None:
    transport = Unsteady(*[httpx.ConnectError("gone")] * 3)
    client = Client(tries=3, http=httpx.Client(transport=transport, base_url="http://service"))
    with pytest.raises(ServiceError, match="does not answer: ConnectError") as told:
        client.version()
    assert told.value.status == 0
    full = Unsteady(*[httpx.Response(503, json={"detail": "ending", "request_id": "r"})] * 2)
    with pytest.raises(ServiceError, match="503: ending"):
        Client(tries=2, http=httpx.Client(transport=full, base_url="http://service")).version()


def test_what_cannot_get_better_is_not_tried_again(pauses: list[float]) -> None:
    transport = Unsteady(httpx.Response(422, json={"detail": "wrong", "request_id": "r"}))
    with pytest.raises(ServiceError, match="422: wrong"):
        Client(http=httpx.Client(transport=transport, base_url="http://service")).recommend(k=0)
    assert pauses == []
    assert len(transport.seen) == 1
