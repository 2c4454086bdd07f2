"""Users, items and feedback: what changes is seen in the next answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from flanrec.recommender import Recommender
from flanrec.serving.http import create_app
from flanrec.serving.service import Service
from flanrec.serving.settings import Limits, ServeSettings
from flanrec.serving.store import Event
from flanrec.serving.store.records import Shown

Make = Callable[..., Service]


def listed(client: TestClient, **asked: Any) -> list[str]:
    answer = client.post("/v1/recommend", json=asked)
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def report(client: TestClient, **event: Any) -> dict[str, Any]:
    answer = client.post("/v1/feedback", json={"events": [event]})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_click_changes_the_next_list_of_that_user_and_of_nobody_else(client: TestClient) -> None:
    before, other = listed(client, user_id="u1", k=5), listed(client, user_id="u2", k=5)
    assert report(client, user_id="u1", item_id=before[0])["new"] == 1
    after = listed(client, user_id="u1", k=5)
    assert before[0] not in after
    assert after != before[1:]
    assert listed(client, user_id="u2", k=5) == other


def test_a_new_user_is_known_after_one_event(client: TestClient, fitted: Recommender) -> None:
    report(client, user_id="fresh", item_id="i8")
    assert client.post("/v1/recommend", json={"user_id": "fresh", "k": 5}).json()["basis"] == "history"
    assert listed(client, user_id="fresh", k=5) == fitted.recommend(history=["i8"], k=5)["item_id"].to_list()


def test_a_dislike_takes_an_item_away_and_is_no_part_of_the_history(client: TestClient) -> None:
    before = listed(client, user_id="u1", k=5)
    report(client, user_id="u1", item_id=before[0], event="dislike")
    assert listed(client, user_id="u1", k=4) == before[1:]


def test_what_is_older_than_the_history_that_is_used_still_does_not_come_again(make_service: Make) -> None:
    service = make_service(ServeSettings(limits=Limits(history=2)))
    old = [("i3", "hide"), ("i4", "interaction"), ("i5", "hide"), ("i6", "interaction"), ("i6", "dislike")]
    told = [*old, ("i5", "interaction"), ("i7", "interaction"), ("i8", "interaction"), ("i9", "impression")]
    service.store.events.add([Event("long", item, float(at), kind) for at, (item, kind) in enumerate(told)])
    service.store.events.add([Event("short", item, float(at)) for at, item in enumerate(["i7", "i8"])])
    with TestClient(create_app(service), base_url="http://localhost") as client:
        everything, gone = listed(client, user_id="short", k=30), {"i3", "i4", "i5", "i6"}
        assert gone < set(everything)
        assert listed(client, user_id="long", k=30) == [item for item in everything if item not in gone]
        again = listed(client, user_id="long", k=30, seen=True)
        assert {"i4", "i5", "i7", "i8"} <= set(again)
        assert not {"i3", "i6"} & set(again)


def test_an_impression_says_nothing(client: TestClient) -> None:
    before = listed(client, user_id="u1", k=5)
    report(client, user_id="u1", item_id=before[0], event="impression")
    assert listed(client, user_id="u1", k=5) == before


def test_a_report_sent_again_changes_nothing(client: TestClient, service: Service) -> None:
    events = {"events": [{"user_id": "u1", "item_id": "i20"}, {"user_id": "u1", "item_id": "i21", "feedback_id": "f"}]}
    first = client.post("/v1/feedback", json=events, headers={"Idempotency-Key": "k-1"}).json()
    again = client.post("/v1/feedback", json=events, headers={"Idempotency-Key": "k-1"}).json()
    assert (first["new"], first["known"]) == (2, 0)
    assert (again["new"], again["known"]) == (0, 2)


def test_a_report_with_an_unknown_item_is_refused_whole(client: TestClient, service: Service) -> None:
    before = service.store.events.count()
    events = {"events": [{"user_id": "u1", "item_id": "i20"}, {"user_id": "u1", "item_id": "nothing"}]}
    answer = client.post("/v1/feedback", json=events)
    assert answer.status_code == 422
    assert "events.1" in answer.json()["detail"]
    assert service.store.events.count() == before


def test_a_new_item_can_be_recommended_at_once(client: TestClient) -> None:
    answer = client.put(
        "/v1/items/new-1", json={"title": "The Glass Orchard (2011)", "category": ["Comedy"], "year": 2011}
    )
    assert answer.status_code == 201
    assert "new-1" in listed(client, user_id="u1", k=40)
    assert listed(client, user_id="u1", filters={"only": ["new-1"]}) == ["new-1"]
    assert listed(client, history=["The Glass Orchard (2011)"], k=3)
    assert client.post("/v1/match", json={"user_id": "u1", "items": ["new-1"]}).status_code == 200
    assert client.get("/v1/items/new-1/similar").status_code == 200
    assert report(client, user_id="u1", item_id="new-1")["new"] == 1
    assert "new-1" not in listed(client, user_id="u1", k=40)


def test_a_deleted_item_is_gone_at_once_from_every_answer(client: TestClient) -> None:
    first = listed(client, user_id="u1", k=5)[0]
    assert client.delete(f"/v1/items/{first}").status_code == 204
    assert client.delete(f"/v1/items/{first}").status_code == 404
    assert client.get(f"/v1/items/{first}").status_code == 404
    for asked in ({}, {"seen": True}, {"diversity": 0.5}, {"reading": "item_tokens"}, {"reading": "generate", "k": 5}):
        assert first not in listed(client, **{"user_id": "u1", "k": 30, **asked})
    assert client.post("/v1/rank", json={"user_id": "u1", "items": [first]}).status_code == 404
    assert client.post("/v1/recommend", json={"history": [first]}).status_code == 404
    similar = client.get("/v1/items/i7/similar", params={"k": 30}).json()["items"]
    assert first not in [item["item_id"] for item in similar]
    assert client.put(f"/v1/items/{first}", json={"title": "Back again"}).status_code == 201
    assert first in listed(client, user_id="u1", k=30)


def test_a_patched_title_is_the_one_that_is_told(client: TestClient) -> None:
    assert client.patch("/v1/items/i20", json={"title": "Renamed Quarry"}).json()["title"] == "Renamed Quarry"
    items = client.post("/v1/recommend", json={"user_id": "u1", "filters": {"only": ["i20"]}}).json()["items"]
    assert [item["title"] for item in items] == ["Renamed Quarry"]
    assert client.patch("/v1/items/i20", json={"title": "  "}).status_code == 422
    assert client.patch("/v1/items/nothing", json={"title": "x"}).status_code == 404


def test_items_are_put_all_or_none(client: TestClient) -> None:
    twice = [{"item_id": "n1", "title": "One"}, {"item_id": "n1", "title": "Two"}]
    assert client.post("/v1/items", json={"items": twice}).status_code == 422
    assert (
        client.post(
            "/v1/items", json={"items": [{"item_id": "n1", "title": "One"}, {"item_id": "n2", "title": " "}]}
        ).status_code
        == 422
    )
    assert client.get("/v1/items/n1").status_code == 404
    good = [{"item_id": "n1", "title": "One"}, {"item_id": "i20", "title": "Replaced"}]
    assert client.post("/v1/items", json={"items": good}).json() == {"created": 1, "replaced": 1}


def test_a_title_names_an_item_that_was_not_deleted(client: TestClient) -> None:
    client.put("/v1/items/again-1", json={"title": "Twice told"})
    client.put("/v1/items/again-2", json={"title": "Twice Told"})
    for item in ("again-1", "again-2"):
        explained = client.post("/v1/explain", json={"user_id": "u1", "item": " twice told"})
        assert explained.json()["item_id"] == item
        client.delete(f"/v1/items/{item}")
    assert client.post("/v1/explain", json={"user_id": "u1", "item": "Twice told"}).status_code == 404


def test_users_are_created_replaced_patched_read_and_deleted(client: TestClient, service: Service) -> None:
    assert client.put("/v1/users/mia", json={"attributes": {"age": 30, "job": "baker"}}).status_code == 201
    assert client.put("/v1/users/mia", json={"attributes": {"age": 31, "job": "baker"}}).status_code == 200
    assert client.patch("/v1/users/mia", json={"attributes": {"job": None}}).json()["attributes"] == {"age": 31}
    report(client, user_id="mia", item_id="i3", rating=5, review="lovely")
    listed(client, user_id="mia")
    assert client.get("/v1/users/mia/events").json()["events"][0]["item_id"] == "i3"
    assert client.delete("/v1/users/mia").status_code == 204
    assert client.get("/v1/users/mia").status_code == 404
    assert client.get("/v1/users/mia/events").json()["events"] == []
    assert client.post("/v1/recommend", json={"user_id": "mia"}).json()["basis"] == "popularity"


def test_a_user_of_the_log_who_is_deleted_has_no_history_any_more(client: TestClient) -> None:
    assert client.post("/v1/recommend", json={"user_id": "u1"}).json()["basis"] == "history"
    assert client.delete("/v1/users/u1").status_code == 204
    assert client.post("/v1/recommend", json={"user_id": "u1"}).json()["basis"] == "popularity"


def test_pages_follow_each_other_to_the_end(client: TestClient, fitted: Recommender) -> None:
    found: list[str] = []
    cursor: str | None = None
    for _ in range(20):
        page = client.get("/v1/items", params={"limit": 4} | ({} if cursor is None else {"cursor": cursor})).json()
        found += [item["item_id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == sorted(fitted.parts.catalogue.item_ids)
    assert client.get("/v1/items", params={"cursor": "%%%"}).status_code == 422


@pytest.mark.parametrize("name", ["a/b", "../../etc/passwd", "a b", "Łódź", "😀"])
def test_ids_of_every_kind_name_items_and_never_files(client: TestClient, name: str) -> None:
    from urllib.parse import quote

    address = f"/v1/items/{quote(name, safe='')}"
    assert client.put(address, json={"title": "A strange one"}).status_code == 201
    assert client.get(address).json()["item_id"] == name
    assert client.get(f"{address}/similar").status_code == 200
    assert name in listed(client, user_id="u1", k=40)
    assert client.delete(address).status_code == 204


def test_a_list_shown_a_moment_ago_goes_with_its_user(client: TestClient, service: Service) -> None:
    request_id = client.post("/v1/recommend", json={"user_id": "u1"}).json()["request_id"]
    assert client.delete("/v1/users/u1").status_code == 204
    client.portal.call(service.recorder.flush)  # type: ignore[union-attr]
    assert service.store.shown.get(request_id) is None


def test_lists_and_audit_lines_are_forgotten_when_they_are_old(service: Service) -> None:
    day = 24 * 3600.0
    for name, age in (("new", 1.0), ("old", 100.0)):
        service.store.shown.add([Shown(name, "u1", time.time() - age * day, "m", ("i1",))])
    lines = len(service.store.trail.page().records)
    service.recorder.tidy()
    assert service.store.shown.get("new") is not None
    assert service.store.shown.get("old") is None
    assert len(service.store.trail.page().records) == lines
