"""Two models compared on those who are served: dealt fairly, and judged by tests that know chance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flanrec.errors import SettingsError
from flanrec.serving.experiments import MIXED, Experiment, team_draft
from flanrec.serving.http import create_app
from flanrec.serving.online import by_model, compared_mixed, compared_split
from flanrec.serving.service import Service
from flanrec.serving.settings import ServeSettings
from flanrec.serving.store.shown import Answer

LISTS = st.lists(st.sampled_from("abcdefghij"), unique=True, max_size=10)


def split(share: float = 0.5, salt: str = "") -> Experiment:
    return Experiment(kind="split", models=("old", "new"), share=share, salt=salt)


def test_a_split_deals_by_the_share_and_always_alike() -> None:
    dealt = [split(0.2).model_of(str(user)) for user in range(5_000)]
    assert dealt == [split(0.2).model_of(str(user)) for user in range(5_000)]
    assert dealt.count("new") == pytest.approx(1_000, abs=100)


def test_another_salt_deals_anew() -> None:
    users = [str(user) for user in range(400)]
    same = sum(split().model_of(user) == split(salt="x").model_of(user) for user in users)
    assert same == pytest.approx(200, abs=50)


@pytest.mark.parametrize("models", [(), ("one",), ("one", "one"), ("one", "two", "three")])
def test_an_experiment_is_of_two_models(models: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="compares two models"):
        Experiment(kind="split", models=models)


@given(LISTS, LISTS, st.integers(1, 12), st.text(max_size=5))
def test_a_draft_has_items_of_its_teams_once_in_their_order(
    first: list[str], second: list[str], k: int, seed: str
) -> None:
    drafted = team_draft(first, second, k, seed)
    items = [item for item, _ in drafted]
    assert len(set(items)) == len(items) == min(k, len({*first, *second}))
    for team, own in (("a", first), ("b", second)):
        places = [own.index(item) for item, by in drafted if by == team]
        assert places == sorted(places)
    if set(first) == set(second):
        teams = [team for _, team in drafted]
        assert abs(teams.count("a") - teams.count("b")) <= 1


def test_neither_team_begins_more_often() -> None:
    begins = [team_draft(["x", "y"], ["z", "w"], 4, str(seed))[0][1] for seed in range(1_000)]
    assert begins.count("a") == pytest.approx(500, abs=60)


def people(arm: str, rate: float, count: int, seed: int, lists: int = 4) -> list[Answer]:
    """Lists of people of whom each is met in a share of theirs."""
    draw = np.random.default_rng(seed)
    return [
        Answer(arm, arm, (1,) if draw.random() < rate else (), f"{arm} {user}")
        for user in range(count)
        for _ in range(lists)
    ]


def test_a_split_with_a_difference_is_told_from_chance() -> None:
    answers = people("old", 0.2, 400, 1) + people("new", 0.3, 400, 2)
    found = compared_split(answers, "old", "new")
    assert found is not None
    assert found.difference == pytest.approx(0.1, abs=0.04)
    assert found.low < 0.1 < found.high
    assert found.p_value < 0.001
    assert found.people == 800


def test_without_a_difference_a_split_is_seldom_significant() -> None:
    significant = 0
    for seed in range(200):
        found = compared_split(people("old", 0.3, 60, 2 * seed) + people("new", 0.3, 60, 2 * seed + 1), "old", "new")
        significant += found is not None and found.p_value < 0.05
    assert significant <= 20


@pytest.mark.parametrize(("rates", "p_value"), [((0.0, 1.0), 1 / 3), ((1.0, 1.0), 1.0)])
def test_two_people_in_each_arm_prove_nothing_however_alike_they_are(
    rates: tuple[float, float], p_value: float
) -> None:
    found = compared_split(people("old", rates[0], 2, 1) + people("new", rates[1], 2, 2), "old", "new")
    assert found is not None
    assert found.difference == rates[1] - rates[0]
    assert found.p_value == pytest.approx(p_value)


def test_a_split_without_enough_people_says_nothing() -> None:
    assert compared_split(people("old", 0.5, 5, 1), "old", "new") is None
    assert compared_mixed(people("old", 0.5, 5, 1), "old", "new") is None


def test_interleaving_counts_whom_each_person_preferred() -> None:
    answers = [Answer("m", f"{MIXED}abab", (2,), f"u{user}") for user in range(9)]
    answers += [Answer("m", f"{MIXED}abab", (1,), "u9"), Answer("m", f"{MIXED}baba", (), "u10")]
    answers += [Answer("m", f"{MIXED}ab", (1, 2), "u11")]  # of both teams: a tie
    found = compared_mixed(answers, "old", "new")
    assert found is not None
    assert found.people == 10
    assert found.difference == pytest.approx(0.8)
    assert found.p_value == pytest.approx(2 * 11 / 1024)
    assert found.low < 0.8 < found.high


def test_a_person_with_many_lists_counts_once() -> None:
    answers = [Answer("m", "", (1,), "busy")] * 98 + [Answer("m", "", (), "calm"), Answer("m", "", (2,), None)]
    row = by_model(answers)[0]
    assert row.lists == 100
    assert row.hit_rate.count == 3
    assert row.hit_rate.value == pytest.approx(2 / 3)
    assert row.reciprocal_rank.value == pytest.approx(0.5)


@pytest.fixture(scope="module")
def compared(make_service: Callable[..., Service], model_folder: Path) -> Callable[..., TestClient]:
    """Clients of services that compare two models under two names."""

    def make(kind: str) -> TestClient:
        service = make_service()
        service.models.load("other", model_folder)
        settings = ServeSettings(experiment={"kind": kind, "models": ("default", "other")})  # type: ignore[arg-type]
        service.settings = settings
        return TestClient(create_app(service), base_url="http://localhost")

    return make


def test_a_split_is_served_and_judged(compared: Callable[..., TestClient]) -> None:
    with compared("split") as client:
        names: dict[str, set[str]] = {}
        for user in [f"u{number}" for number in range(20)] * 2:
            answer = client.post("/v1/recommend", json={"user_id": user, "k": 3}).json()
            names.setdefault(user, set()).add(answer["model"]["name"])
            event = {"user_id": user, "item_id": answer["items"][0]["item_id"], "request_id": answer["request_id"]}
            client.post("/v1/feedback", json={"events": [event]})
        assert all(len(dealt) == 1 for dealt in names.values())
        assert {"default", "other"} == set().union(*names.values())
        named = client.post("/v1/recommend", json={"user_id": "u1", "model": "other"}).json()
        assert named["model"]["name"] == "other"
        told = judged(client, 41)
        assert told["models"][0]["hit_rate"]["value"] > 0.9
        assert told["comparison"]["kind"] == "split"
        assert told["comparison"]["people"] == 20


def test_interleaved_lists_are_served_and_judged(compared: Callable[..., TestClient]) -> None:
    with compared("interleave") as client:
        for number in range(12):
            answer = client.post("/v1/recommend", json={"user_id": f"u{number}", "k": 6, "explain": 1}).json()
            ids = [item["item_id"] for item in answer["items"]]
            assert len(set(ids)) == len(ids) == 6
            assert [item["rank"] for item in answer["items"]] == [1, 2, 3, 4, 5, 6]
            assert answer["model"]["name"] == "default+other"
            event = {"user_id": f"u{number}", "item_id": ids[0], "request_id": answer["request_id"]}
            client.post("/v1/feedback", json={"events": [event]})
        told = judged(client, 12)
        assert told["comparison"]["kind"] == "interleave"
        assert told["comparison"]["people"] == 12


@pytest.mark.parametrize("kind", ["split", "interleave"])
def test_lists_asked_for_together_are_dealt_like_single_ones(compared: Callable[..., TestClient], kind: str) -> None:
    users, others = [f"u{number}" for number in range(12)], [f"u{number}" for number in range(12, 24)]
    with compared(kind) as client:
        single = [client.post("/v1/recommend", json={"user_id": user, "k": 6}).json() for user in users]
        asked = [{"user_id": user, "k": 6} for user in users + others]
        asked += [{"user_id": "u1", "k": 6, "model": "other"}, {"user_id": "u1", "model": "nobody"}]
        *together, named, wrong = client.post("/v1/recommend/batch", json={"requests": asked}).json()["answers"]
        for answer, alone in zip(together[:12], single, strict=True):
            assert answer["model"] == alone["model"]
            assert {item["item_id"] for item in answer["items"]} == {item["item_id"] for item in alone["items"]}
        assert (named["model"]["name"], wrong["status"]) == ("other", 404)
        events = [
            {"user_id": answer["user_id"], "item_id": answer["items"][0]["item_id"], "request_id": answer["request_id"]}
            for answer in together
        ]
        client.post("/v1/feedback", json={"events": events})
        assert judged(client, 12 + 25)["comparison"]["people"] == 24


def judged(client: TestClient, lists: int) -> dict[str, Any]:
    """What came of the lists, once all of them are kept."""
    for _ in range(200):
        told: dict[str, Any] = client.get("/v1/online", params={"event": "click"}).json()
        if sum(row["lists"] for row in told["models"]) >= lists:
            break
    return told


def test_an_experiment_with_a_model_that_is_not_served_does_not_start(make_service: Callable[..., Service]) -> None:
    with pytest.raises(SettingsError, match="compares other, which is not served"):
        make_service(ServeSettings(experiment={"kind": "split", "models": ("default", "other")}))  # type: ignore[arg-type]
