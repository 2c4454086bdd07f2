from __future__ import annotations

import logging
from typing import get_args

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flanrec.data import Dataset
from flanrec.errors import DataError, NotFoundError, SettingsError
from flanrec.recommender import READINGS, Asking, Reading, Recommender

everything = pytest.mark.parametrize("reading", READINGS)


def ids_of(table: pl.DataFrame, user: object) -> list[str]:
    return table.filter(pl.col("user_id").eq_missing(user))["item_id"].to_list()


def seen_by(data: Dataset, user: str) -> set[str]:
    return set(data.interactions.filter(pl.col("user_id") == user)["item_id"].to_list())


def test_the_readings_are_those_of_the_type() -> None:
    assert get_args(Reading) == READINGS


@everything
def test_lists_are_ranked_from_one_by_falling_score_for_each_user_in_order(
    fitted: Recommender, reading: Reading
) -> None:
    table = fitted.recommend(["u3", "u1"], k=5, reading=reading)
    assert table.columns == ["user_id", "item_id", "score", "rank"]
    assert table["user_id"].to_list() == ["u3"] * 5 + ["u1"] * 5
    assert table["rank"].to_list() == [1, 2, 3, 4, 5] * 2
    for user in ("u3", "u1"):
        scores = table.filter(pl.col("user_id") == user)["score"].to_numpy()
        assert (np.diff(scores) <= 0).all()
        assert (scores <= 0).all()
        assert np.isfinite(scores).all()


def test_token_scores_are_log_probabilities_of_the_whole_catalogue(fitted: Recommender) -> None:
    table = fitted.recommend(["u3"], k=30, seen=True, reading="item_tokens")
    assert table.height == 30
    assert np.exp(table["score"].to_numpy()).sum() == pytest.approx(1.0, abs=1e-4)


@everything
def test_the_order_does_not_depend_on_k_or_company(fitted: Recommender, reading: Reading) -> None:
    alone = ids_of(fitted.recommend(["u7"], k=4, reading=reading), "u7")
    many = ids_of(fitted.recommend(["u1", "u7", "nobody", "u30"], k=4, reading=reading), "u7")
    assert alone == many
    if reading != "generate":
        assert ids_of(fitted.recommend(["u7"], k=9, reading=reading), "u7")[:4] == alone


@everything
def test_an_unknown_user_and_one_without_history_get_the_same_list_and_a_warning(
    fitted: Recommender, caplog: pytest.LogCaptureFixture, reading: Reading
) -> None:
    with caplog.at_level(logging.WARNING, logger="flanrec.recommender.core"):
        table = fitted.recommend(["stranger", "u2", "somebody"], k=6, reading=reading)
        assert "2 of 3 users have no history" in caplog.text
    empty = fitted.recommend(history=[], k=6, reading=reading)
    assert ids_of(table, "stranger") == ids_of(table, "somebody") == ids_of(empty, None)
    assert ids_of(table, "u2") != ids_of(table, "stranger")


def test_no_warning_where_everybody_is_known(fitted: Recommender, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="flanrec.recommender.core"):
        fitted.recommend(["u1"], k=1)
    assert not caplog.records


@everything
def test_k_beyond_the_catalogue_gives_each_item_once(fitted: Recommender, reading: Reading) -> None:
    table = fitted.recommend(history=[], k=1000, reading=reading)
    assert sorted(table["item_id"]) == sorted(fitted.parts.catalogue.item_ids)
    assert table["rank"].to_list() == list(range(1, 31))


@everything
def test_seen_items_come_back_only_when_asked_for(
    fitted: Recommender, small_dataset: Dataset, reading: Reading
) -> None:
    everything_else = set(small_dataset.item_ids) - seen_by(small_dataset, "u6")
    assert set(fitted.recommend(["u6"], k=30, reading=reading)["item_id"]) == everything_else
    assert set(fitted.recommend(["u6"], k=30, reading=reading, seen=True)["item_id"]) == set(small_dataset.item_ids)


def test_the_last_events_are_seen_too_although_they_were_held_out_in_tuning(
    fitted: Recommender, small_dataset: Dataset
) -> None:
    history = small_dataset.interactions.filter(pl.col("user_id") == "u6").sort("timestamp")["item_id"].to_list()
    known = [fitted.parts.catalogue.item_ids[item] for item in fitted.people(["u6"])[0].items]
    assert known == history


@everything
def test_only_and_without_decide_what_may_come(fitted: Recommender, reading: Reading) -> None:
    # u0 starts at i0 and takes six items.
    table = fitted.recommend(["u0"], k=30, only=["i1", "i9", "i29", "i20"], without=["i20"], reading=reading)
    assert sorted(table["item_id"]) == ["i29", "i9"]
    barred = fitted.recommend(["u0"], k=30, without=["i9", "i29"], reading=reading)
    assert set(barred["item_id"]) == {f"i{item}" for item in range(6, 30)} - {"i9", "i29"}
    assert fitted.recommend(["u0"], k=5, only=[], reading=reading).height == 0


def test_restricting_the_list_keeps_scores_and_order(fitted: Recommender) -> None:
    whole = fitted.recommend(["u0"], k=30)
    some = fitted.recommend(["u0"], k=30, only=["i9", "i29", "i20"])
    assert some.drop("rank").equals(whole.filter(pl.col("item_id").is_in(["i9", "i29", "i20"])).drop("rank"))


def test_ids_and_titles_name_the_same_history(fitted: Recommender) -> None:
    by_id = fitted.recommend(history=["i3", "i4", "i5"], k=5)
    by_title = fitted.recommend(history=["Amber Quarry (1983)", " amber viaduct (1984)", "i5"], k=5)
    assert by_id.equals(by_title)
    assert by_id["user_id"].to_list() == [None] * 5
    assert not {"i3", "i4", "i5"} & set(fitted.recommend(history=["i3", "i4", "i5"], k=30)["item_id"])


def test_the_order_of_a_history_matters(fitted: Recommender) -> None:
    there = fitted.recommend(history=["i3", "i4", "i5"], k=5)
    back = fitted.recommend(history=["i5", "i4", "i3"], k=5)
    assert not there.equals(back)


def test_a_misspelt_title_is_answered_with_the_closest(fitted: Recommender) -> None:
    with pytest.raises(NotFoundError, match=r"'Amber Harbor'.*closest titles are 'Amber Harbour \(1980\)'"):
        fitted.recommend(history=["i3", "Amber Harbor"])
    with pytest.raises(NotFoundError, match="write a title as the items table has it"):
        fitted.recommend(history=["0123"])


@pytest.mark.parametrize(
    ("arguments", "problem", "words"),
    [
        ({"users": ["u1"], "k": 0}, SettingsError, "k is 0"),
        ({"users": ["u1"], "k": -3}, SettingsError, "k is -3"),
        ({}, SettingsError, "either users or a history"),
        ({"users": ["u1"], "history": ["i3"]}, SettingsError, "either users or a history"),
        ({"users": ["u1"], "reading": "tea leaves"}, SettingsError, "use one of fused, item_tokens, generate"),
        ({"users": ["u1"], "only": ["i99"]}, NotFoundError, "'i99'"),
        ({"users": ["u1"], "without": [3]}, NotFoundError, "item 3 .* of type str"),
        ({"users": "u1"}, SettingsError, r"users is the text 'u1'; give a list, such as \['u1'\]"),
        ({"history": "Amber Quarry (1983)"}, SettingsError, "history is the text"),
        ({"users": ["u1"], "only": "i3"}, SettingsError, "only is the text"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_reason(
    fitted: Recommender, arguments: dict[str, object], problem: type[Exception], words: str
) -> None:
    with pytest.raises(problem, match=words):
        fitted.recommend(**arguments)  # type: ignore[arg-type]


def test_nobody_is_asked_for_nobody(fitted: Recommender) -> None:
    table = fitted.recommend([], k=3)
    assert table.height == 0
    assert table.schema == fitted.recommend(["u1"], k=3).schema


def test_users_of_any_kind_come_back_as_they_were(fitted: Recommender) -> None:
    assert fitted.recommend(["u1", "ü☂", ""], k=1)["user_id"].to_list() == ["u1", "ü☂", ""]
    assert fitted.recommend([7, 8], k=1)["user_id"].to_list() == [7, 8]


def test_an_unfitted_recommender_says_so(fitted: Recommender) -> None:
    with pytest.raises(SettingsError, match="not fitted"):
        Recommender(fitted.backbone).recommend(["u1"])


def test_a_wish_reaches_the_prompt_free_of_control_tokens(fitted: Recommender) -> None:
    person = fitted.people(["u1"])
    for reading in (fitted.token_reading, fitted.word_reading):
        prompt = reading.prompts(person, Asking(wish="quiet</s> <extra_id_0>comedy", avoid="drama"))[0]
        assert "quiet comedy" in prompt
        assert "drama" in prompt
        assert "</s>" not in prompt
    assert fitted.recommend(["u1"], wish="x y " * 1000, k=1).height == 1


def test_each_user_may_ask_for_something_else(fitted: Recommender) -> None:
    persons = fitted.people(["u1", "u2"])
    both, _ = fitted.rank(persons, 5, [Asking(wish="comedy"), Asking(wish="drama", avoid="sci-fi")])
    assert both[0].tolist() == fitted.rank(persons[:1], 5, Asking(wish="comedy"))[0][0].tolist()
    assert both[1].tolist() == fitted.rank(persons[1:], 5, Asking(wish="drama", avoid="sci-fi"))[0][0].tolist()


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    history=st.lists(st.integers(0, 29), max_size=12),
    wish=st.sampled_from(["", "comedy", "something with ☂ and </s>", "不要喜剧", "Amber Harbour (1980)"]),
    k=st.integers(1, 40),
    barred=st.sets(st.integers(0, 29), max_size=28),
)
def test_whatever_is_generated_is_an_unseen_item_once_and_none_is_missing(
    fitted: Recommender, history: list[int], wish: str, k: int, barred: set[int]
) -> None:
    person = fitted.person([f"i{item}" for item in history])
    without = [f"i{item}" for item in barred]
    items, scores = fitted.rank([person], k, Asking(wish=wish), reading="generate", without=without)
    found = items[0][items[0] >= 0].tolist()
    open_items = set(range(30)) - set(history) - barred
    assert len(found) == len(set(found)) == min(k, len(open_items))
    assert set(found) <= open_items
    assert (np.diff(scores[0][: len(found)]) <= 0).all()
    assert (items[0][len(found) :] == -1).all()


def test_match_keeps_rows_and_other_columns(fitted: Recommender) -> None:
    pairs = pl.DataFrame({"user_id": ["u2", "u1", "u2"], "item_id": ["i9", "i9", "i2"], "label": [1, 0, 1]})
    table = fitted.match(pairs)
    assert table.drop("probability").equals(pairs)
    assert table["probability"].is_between(0, 1).all()
    assert fitted.match(pairs.head(0)).height == 0


def test_a_match_probability_is_the_same_alone_and_in_company(fitted: Recommender) -> None:
    pairs = pl.DataFrame(
        {"user_id": [user for user in ("u1", "u6", "nobody") for _ in range(3)], "item_id": ["i0", "i17", "i29"] * 3}
    )  # fmt: skip
    together = fitted.match(pairs)["probability"].to_numpy()
    alone = [fitted.match(pairs[row])["probability"][0] for row in range(pairs.height)]
    assert together == pytest.approx(np.array(alone), abs=1e-5)
    assert len(set(together.round(6))) > 3


def test_match_refuses_what_it_cannot_read(fitted: Recommender) -> None:
    with pytest.raises(NotFoundError, match="'i77'"):
        fitted.match(pl.DataFrame({"user_id": ["u1"], "item_id": ["i77"]}))
    with pytest.raises(DataError, match="lack the column item_id; they have user_id, item"):
        fitted.match(pl.DataFrame({"user_id": ["u1"], "item": ["i7"]}))
