"""Whatever was put, deleted and reported before: a list has nothing twice, nothing seen, turned down or deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from flanrec.serving.http import create_app
from flanrec.serving.service import Service
from flanrec.serving.settings import Queue, ServeSettings

OLD, NEW = [f"i{number}" for number in range(30)], [f"n{number}" for number in range(4)]
ITEMS = st.sampled_from(OLD[:8] + NEW)
USERS = st.sampled_from(["s1", "s2", "s3"])
KINDS = st.sampled_from(["click", "buy", "dislike", "hide", "impression"])


class Shop(RuleBasedStateMachine):
    """What must hold, beside the service itself.

    All runs share one service: at its end, a run takes back what it changed.
    """

    client: TestClient

    @initialize()
    def begin(self) -> None:
        self.open = set(OLD)
        self.done: dict[str, list[tuple[str, str]]] = {}  # item and kind, the oldest first
        self.met: set[str] = set()  # who did something, or was shown a list

    def seen(self, user: str) -> set[str]:
        return {item for item, kind in self.done.get(user, []) if kind in ("click", "buy")}

    def refused(self, user: str) -> set[str]:
        newest = {item: kind for item, kind in self.done.get(user, []) if kind != "impression"}
        return {item for item, kind in newest.items() if kind in ("dislike", "hide")}

    @rule(item=ITEMS, number=st.integers(0, 9))
    def put(self, item: str, number: int) -> None:
        answer = self.client.put(f"/v1/items/{item}", json={"title": f"Film {item} {number}", "category": ["Drama"]})
        assert answer.status_code == (200 if item in self.open else 201)
        self.open.add(item)

    @rule(item=ITEMS)
    def delete(self, item: str) -> None:
        assert self.client.delete(f"/v1/items/{item}").status_code == (204 if item in self.open else 404)
        self.open.discard(item)

    @rule(user=USERS, item=ITEMS, kind=KINDS)
    def report(self, user: str, item: str, kind: str) -> None:
        event = {"user_id": user, "item_id": item, "event": kind}
        answer = self.client.post("/v1/feedback", json={"events": [event]})
        assert answer.status_code == (200 if item in self.open else 422)
        if item in self.open:
            self.done.setdefault(user, []).append((item, kind))
            self.met.add(user)

    @rule(user=USERS)
    def forget(self, user: str) -> None:
        assert self.client.delete(f"/v1/users/{user}").status_code == (204 if user in self.met else 404)
        self.done.pop(user, None)
        self.met.discard(user)

    @rule(
        user=USERS, k=st.integers(1, 40), seen=st.booleans(), exclude=st.lists(ITEMS, max_size=3),
        reading=st.sampled_from(["fused", "fused", "item_tokens", "generate"]), wish=st.sampled_from(["", "", "drama"]),
        diversity=st.sampled_from([0.0, 0.0, 0.5]),
    )  # fmt: skip
    def recommend(self, **asked: Any) -> None:
        body = {name if name != "user" else "user_id": value for name, value in asked.items()}
        self.check(self.listed("/v1/recommend", body), body)

    @rule(
        users=st.lists(USERS, min_size=1, max_size=4), k=st.integers(1, 12),
        reading=st.sampled_from(["fused", "item_tokens"]),
    )  # fmt: skip
    def recommend_many(self, users: list[str], k: int, reading: str) -> None:
        asked = [{"user_id": user, "k": k, "reading": reading} for user in users]
        answers = self.client.post("/v1/recommend/batch", json={"requests": asked}).json()["answers"]
        for body, answer in zip(asked, answers, strict=True):
            alone = self.listed("/v1/recommend", body)
            self.check(answer["items"], body)
            assert [item["item_id"] for item in answer["items"]] == [item["item_id"] for item in alone]
            scores = [item["score"] for item in alone]
            assert [item["score"] for item in answer["items"]] == pytest.approx(scores, abs=1e-4)

    @rule(user=USERS, items=st.lists(ITEMS, min_size=1, max_size=5))
    def rank(self, user: str, items: list[str]) -> None:
        answer = self.client.post("/v1/rank", json={"user_id": user, "items": items})
        assert answer.status_code == (200 if set(items) <= self.open else 404)
        if answer.status_code == 200:
            assert sorted(item["item_id"] for item in answer.json()["items"]) == sorted(set(items))

    @rule(item=ITEMS, by=st.sampled_from(["content", "behaviour"]))
    def similar(self, item: str, by: str) -> None:
        answer = self.client.get(f"/v1/items/{item}/similar", params={"k": 40, "by": by})
        assert answer.status_code == (200 if item in self.open else 404)
        if answer.status_code == 200:
            found = [one["item_id"] for one in answer.json()["items"]]
            assert sorted(found) == sorted(self.open - {item})

    def listed(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        answer = self.client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["fallback"] is None
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    def check(self, items: list[dict[str, Any]], asked: dict[str, Any]) -> None:
        """What must hold of a list."""
        found, user = [item["item_id"] for item in items], asked["user_id"]
        self.met.add(user)
        may = self.open - self.refused(user) - set(asked.get("exclude", []))
        if not asked.get("seen"):
            may -= self.seen(user)
        assert len(set(found)) == len(found)
        assert set(found) <= may
        assert [item["rank"] for item in items] == list(range(1, len(items) + 1))
        if asked.get("reading", "fused") != "generate":  # which spells as many titles as it has beams
            assert len(found) == min(asked["k"], len(may))

    def teardown(self) -> None:
        for user in getattr(self, "met", ()):
            self.client.delete(f"/v1/users/{user}")
        for item in NEW:
            self.client.delete(f"/v1/items/{item}")
        for item in OLD[:8]:
            self.client.put(f"/v1/items/{item}", json={"title": f"Film {item}", "category": ["Drama"]})


@pytest.fixture(scope="module")
def shop(make_service: Callable[..., Service]) -> Iterator[TestClient]:
    service = make_service(ServeSettings(queue=Queue(deadline_ms=60_000)))
    with TestClient(create_app(service), base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize("examples", [12, pytest.param(150, marks=pytest.mark.slow)])
def test_lists_hold_what_was_put_deleted_and_reported(shop: TestClient, examples: int) -> None:
    Shop.client = shop
    asked = settings(
        max_examples=examples, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Shop, settings=asked)
