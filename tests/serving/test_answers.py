"""What the service answers, beside what the recommender itself says."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from flanrec.ranking.policy import Policy
from flanrec.ranking.rules import Diversity
from flanrec.recommender import Recommender
from flanrec.recommender.asking import Asking
from flanrec.serving.questions import ExplainQuestion, ListQuestion, MatchQuestion, Question, Who
from flanrec.serving.service import Service, tokens_of
from flanrec.serving.settings import Queue


def listed(client: TestClient, **asked: Any) -> list[str]:
    answer = client.post("/v1/recommend", json=asked)
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def test_a_known_user_gets_what_the_recommender_says(untouched: TestClient, fitted: Recommender) -> None:
    for user in fitted.parts.dataset.user_ids[:5]:
        expected = fitted.recommend([user], k=7)
        answer = untouched.post("/v1/recommend", json={"user_id": user, "k": 7}).json()
        assert [item["item_id"] for item in answer["items"]] == expected["item_id"].to_list()
        assert [item["score"] for item in answer["items"]] == pytest.approx(expected["score"].to_list(), abs=1e-4)
        assert [item["rank"] for item in answer["items"]] == [1, 2, 3, 4, 5, 6, 7]
        assert answer["basis"] == "history"
        assert answer["fallback"] is None


def test_every_answer_says_by_which_model_and_in_which_request(client: TestClient, service: Service) -> None:
    answer = client.post("/v1/recommend", json={"user_id": "u1"}, headers={"X-Request-ID": "mine-1"})
    assert answer.headers["X-Request-ID"] == "mine-1"
    body = answer.json()
    assert body["request_id"] == "mine-1"
    assert body["model"] == {"name": "default", "version": service.models.get().version}
    assert "ease" in body["sources"]


@pytest.mark.parametrize("reading", ["item_tokens", "generate"])
def test_every_reading_can_be_asked(untouched: TestClient, fitted: Recommender, reading: Any) -> None:
    expected = fitted.recommend(["u3"], k=4, reading=reading)["item_id"].to_list()
    assert listed(untouched, user_id="u3", k=4, reading=reading) == expected


def test_somebody_who_is_not_stored_is_known_by_titles_ids_and_a_wish(
    untouched: TestClient, fitted: Recommender
) -> None:
    title = fitted.parts.catalogue.titles[4]
    expected = fitted.recommend(history=[title, "i9"], wish="comedy", attributes={"age": "30"}, k=5)[
        "item_id"
    ].to_list()
    assert listed(untouched, history=[title, "i9"], wish="comedy", attributes={"age": 30}, k=5) == expected


@pytest.mark.parametrize("entry", ["no such film", "²", "--5", "-", "٣", "9" * 1_999])
def test_what_is_neither_an_id_nor_a_title_is_not_found(untouched: TestClient, entry: str) -> None:
    for path, asked in (("recommend", {"history": [entry]}), ("explain", {"user_id": "u1", "item": entry})):
        assert untouched.post(f"/v1/{path}", json=asked).status_code == 404


def test_a_user_nobody_knows_gets_what_is_popular_and_is_told_so(untouched: TestClient) -> None:
    body = untouched.post("/v1/recommend", json={"user_id": "nobody"}).json()
    assert body["basis"] == "popularity"
    assert len(body["items"]) == 10


def test_filters_and_exclusions_hold(untouched: TestClient, fitted: Recommender) -> None:
    catalogue = fitted.parts.catalogue
    comedies = {item for item, names in zip(catalogue.item_ids, catalogue.categories, strict=True) if "Comedy" in names}
    found = listed(untouched, user_id="u1", k=20, filters={"columns": {"category": ["Comedy"]}})
    assert found
    assert set(found) <= comedies
    years = listed(untouched, user_id="u1", k=20, filters={"from_year": 1985, "to_year": 1990})
    assert {int(item[1:]) for item in years} <= set(range(5, 11))
    first = listed(untouched, user_id="u1", k=3)
    assert not set(first[:2]) & set(listed(untouched, user_id="u1", k=20, exclude=first[:2]))
    assert set(listed(untouched, user_id="u1", k=20, filters={"only": ["i20", "i21"]})) == {"i20", "i21"}


def test_a_list_has_nothing_seen_unless_it_is_asked_for(untouched: TestClient, fitted: Recommender) -> None:
    person = fitted.people(["u2"])[0]
    had = {fitted.parts.catalogue.item_ids[item] for item in person.items.tolist()}
    assert not had & set(listed(untouched, user_id="u2", k=30))
    assert had & set(listed(untouched, user_id="u2", k=30, seen=True))


def test_diversity_and_the_long_tail_change_the_list(untouched: TestClient) -> None:
    plain = listed(untouched, user_id="u1", k=6)
    assert listed(untouched, user_id="u1", k=6, diversity=0.9) != plain
    assert len(listed(untouched, user_id="u1", k=6, long_tail=0.5)) == 6


def test_sources_add_up_to_the_score_up_to_a_constant(untouched: TestClient) -> None:
    items = untouched.post("/v1/recommend", json={"user_id": "u1", "k": 6, "sources": True}).json()["items"]
    rest = [item["score"] - sum(item["sources"].values()) for item in items]
    assert rest == pytest.approx([rest[0]] * len(rest), abs=1e-3)


def test_reasons_come_with_the_first_items(untouched: TestClient, fitted: Recommender) -> None:
    items = untouched.post("/v1/recommend", json={"user_id": "u1", "k": 4, "explain": 2}).json()["items"]
    assert [item["reasons"] is None for item in items] == [False, False, True, True]
    expected = fitted.explain(user="u1", item=items[0]["item_id"])
    assert items[0]["reasons"]["text"] == expected.to_text()
    assert items[0]["reasons"]["because"] == [reason.title for reason in expected.reasons]


def test_candidates_are_ranked_all_of_them(untouched: TestClient) -> None:
    answer = untouched.post("/v1/rank", json={"user_id": "u1", "items": ["i5", "i6", "i25", "i5"]}).json()
    assert sorted(item["item_id"] for item in answer["items"]) == ["i25", "i5", "i6"]
    scores = [item["score"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)


def test_probabilities_are_those_of_the_recommender(untouched: TestClient, fitted: Recommender) -> None:
    import polars as pl

    items = [f"i{number}" for number in range(5, 28)]  # more than are matched at once
    answer = untouched.post("/v1/match", json={"user_id": "u1", "items": items}).json()
    expected = fitted.match(pl.DataFrame({"user_id": ["u1"] * len(items), "item_id": items}))["probability"].to_list()
    assert [item["item_id"] for item in answer["items"]] == items
    assert [item["probability"] for item in answer["items"]] == pytest.approx(expected, abs=1e-4)


def test_an_item_is_explained(untouched: TestClient, fitted: Recommender) -> None:
    answer = untouched.post("/v1/explain", json={"user_id": "u1", "item": "i20", "wish": "comedy"}).json()
    expected = fitted.explain(user="u1", item="i20", wish="comedy")
    assert answer["text"] == expected.to_text()
    assert answer["prompt"] == expected.prompt
    assert [reason["item_id"] for reason in answer["reasons"]] == [reason.item_id for reason in expected.reasons]


@pytest.mark.parametrize("by", ["content", "behaviour"])
def test_similar_items_leave_the_item_itself_out(untouched: TestClient, by: str) -> None:
    answer = untouched.get("/v1/items/i7/similar", params={"k": 5, "by": by}).json()
    found = [item["item_id"] for item in answer["items"]]
    assert len(set(found)) == 5
    assert "i7" not in found


def test_batch_and_single_answers_agree(untouched: TestClient, fitted: Recommender) -> None:
    asked = [{"user_id": user, "k": 5} for user in fitted.parts.dataset.user_ids[:6]]
    asked += [{"history": ["i3"], "wish": "drama", "k": 5}, {"user_id": "u1", "k": 5, "filters": {"only": ["i20"]}}]
    together = untouched.post("/v1/recommend/batch", json={"requests": asked}).json()["answers"]
    for one, answer in zip(asked, together, strict=True):
        alone = untouched.post("/v1/recommend", json=one).json()
        assert [item["item_id"] for item in answer["items"]] == [item["item_id"] for item in alone["items"]]
        scores = [item["score"] for item in alone["items"]]
        assert [item["score"] for item in answer["items"]] == pytest.approx(scores, abs=1e-4)


def test_one_wrong_request_of_a_batch_is_told_in_its_place(untouched: TestClient) -> None:
    asked: list[dict[str, Any]] = [
        {"user_id": "u1"}, {"history": ["no such film"]}, {"user_id": "u2", "deadline_ms": 1}, {"k": 101},
        {"wish": "x" * 2_001}, {"user_id": "u3"},
    ]  # fmt: skip
    answers = untouched.post("/v1/recommend/batch", json={"requests": asked}).json()["answers"]
    assert [answer.get("status") for answer in answers] == [None, 404, None, 422, 422, None]
    assert "no such film" in answers[1]["detail"]
    assert "k: 101 is more" in answers[3]["detail"]
    assert [answer["user_id"] for answer in answers if "items" in answer] == ["u1", "u2", "u3"]
    late = [{"user_id": "u1", "deadline_ms": 1}, {"history": ["no such film"], "deadline_ms": 1}]
    assert untouched.post("/v1/recommend/batch", json={"requests": late}).status_code == 504


def test_only_lets_nothing_come_that_was_excluded_or_is_not_wanted(client: TestClient) -> None:
    three = listed(client, user_id="u1", k=3)
    only = {"only": three}
    assert listed(client, user_id="u1", k=3, filters=only) == three
    assert listed(client, user_id="u1", k=3, filters=only, exclude=[three[1]]) == [three[0], three[2]]
    client.post("/v1/feedback", json={"events": [{"user_id": "u1", "item_id": three[0], "event": "dislike"}]})
    assert three[0] not in listed(client, user_id="u1", k=3, filters=only)
    ranked = client.post("/v1/rank", json={"user_id": "u1", "items": three}).json()["items"]
    assert {item["item_id"] for item in ranked} == set(three)


def test_ranks_in_reasons_do_not_count_what_cannot_come(client: TestClient) -> None:
    first, second, third = listed(client, user_id="u1", k=3)
    client.delete(f"/v1/items/{first}")
    client.post("/v1/feedback", json={"events": [{"user_id": "u1", "item_id": second, "event": "hide"}]})
    item = client.post("/v1/recommend", json={"user_id": "u1", "k": 1, "explain": 1}).json()["items"][0]
    assert item["item_id"] == third
    assert "is number 1 of" in item["reasons"]["text"]
    assert client.post("/v1/explain", json={"user_id": "u1", "item": third}).json()["rank"] == 1


def test_a_body_that_does_not_say_it_is_json_is_told_to(untouched: TestClient) -> None:
    answer = untouched.post("/v1/recommend", content='{"user_id": "u1"}')
    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["detail"]


WISH = Asking("a quiet drama")


@pytest.mark.parametrize(
    ("question", "together"),
    [
        (ListQuestion("", Who("u1"), 10), 32),
        (ListQuestion("", Who("u1"), 10, WISH), 32),
        (ListQuestion("", Who("u1"), 10, policy=Policy(diversity=Diversity(balance=0.5))), 32),
        (ListQuestion("", Who("u1"), 100, policy=Policy(diversity=Diversity(balance=0.5))), 5),
        (ListQuestion("", Who("u1"), 10, Asking("slow " * 200)), 10),
        (ListQuestion("", Who("u1"), 10, reasons=3), 5),
        (MatchQuestion("", Who("u1"), ("i1",) * 10), 4),
        (ListQuestion("", Who("u1"), 10, WISH, reasons=3), 2),
        (ExplainQuestion("", Who("u1"), "i1", "a quiet drama"), 2),
        (ListQuestion("", Who("u1"), 10, reading="generate"), 2),
    ],
)
def test_what_takes_long_goes_through_the_model_with_few_others(question: Question, together: int) -> None:
    fit = Queue().tokens // tokens_of(question)
    assert fit >= 32 if together == 32 else 1 <= fit <= together


def test_where_the_model_fails_what_is_popular_comes_and_says_so(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(service.models.get().recommender, "rank_open", broken)
    body = client.post("/v1/recommend", json={"user_id": "u1", "k": 5}).json()
    assert body["fallback"] == "the model failed"
    assert body["sources"] == ["popularity"]
    assert len(body["items"]) == 5
    assert 'flanrec_lists_total{basis="popularity",fallback="yes",model="default"} 1.0' in client.get("/metrics").text
