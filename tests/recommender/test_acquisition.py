"""What to ask about next: sure pairs last, nothing twice, and questions that are not all alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from flanrec.data import Dataset
from flanrec.errors import SettingsError
from flanrec.recommender import Calibration, Recommender
from flanrec.recommender.acquisition import ask_next, choose, entropy, taste_vectors


@pytest.fixture(scope="module")
def silent(fitted: Recommender) -> Recommender:
    """A recommender whose match probability is that of the like rates, so that it is asked at once."""
    other = Recommender(fitted.backbone, fitted.settings)
    other.adopt(replace(fitted.parts, calibration=Calibration(words=0.0)))
    return other


def test_entropy_is_largest_in_the_middle_and_the_same_on_both_sides() -> None:
    found = entropy(np.array([0.5, 0.1, 0.9, 0.0]))
    assert found[0] == 1.0
    assert found[1] == pytest.approx(found[2]) == pytest.approx(0.469, abs=1e-3)
    assert found[3] == 0.0


def test_alike_questions_are_not_asked_one_after_another() -> None:
    scores = np.array([1.0, 0.99, 0.9, 0.1])
    vectors = np.array([[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [0.0, 1.0]])
    assert choose(scores, vectors, 2, 0.0).tolist() == [0, 1]
    assert choose(scores, vectors, 2, 0.5).tolist() == [0, 2]
    assert sorted(choose(scores, vectors, 9, 0.5).tolist()) == [0, 1, 2, 3]
    assert choose(np.zeros(0), np.zeros((0, 2)), 3, 0.5).tolist() == []


def test_a_taste_is_the_mean_of_what_somebody_met(silent: Recommender) -> None:
    texts = np.eye(30, 4, dtype=np.float32)
    tastes = taste_vectors(silent.people(["u0", "stranger"]), texts)
    # u0 met items 0 to 5, of which the first four have a text.
    np.testing.assert_allclose(tastes, [[0.5] * 4, [0.0] * 4])


@pytest.mark.parametrize("by", ["pairs", "users", "items"])
def test_questions_are_the_same_every_time_and_none_is_asked_twice(silent: Recommender, by: str) -> None:
    first, again = (ask_next(silent, 8, by, pool=200) for _ in range(2))  # type: ignore[arg-type]
    assert first.equals(again)
    assert first["rank"].to_list() == list(range(1, 9))
    asked = first.select([name for name in ("user_id", "item_id") if name in first.columns])
    assert asked.is_unique().all()


def test_pairs_are_of_items_the_user_has_not_met_and_little_is_sure_of(silent: Recommender) -> None:
    found = ask_next(silent, 10, pool=400, balance=0.0)
    met = silent.parts.dataset.interactions.select("user_id", "item_id")
    assert found.join(met, on=["user_id", "item_id"], how="semi").height == 0
    assert found["entropy"].is_sorted(descending=True)
    matched = silent.match(found.select("user_id", "item_id"))["probability"]
    np.testing.assert_allclose(found["probability"], matched)
    persons = silent.people(silent.parts.dataset.user_ids)
    every = silent.match_reading.probabilities(persons, [0] * len(persons))
    assert found["entropy"].min() > np.median(entropy(every))


def test_unrated_events_are_asked_about_first(silent: Recommender, small_dataset: Dataset) -> None:
    events = small_dataset.interactions.with_columns(rating=pl.when(pl.col("row") % 2 == 0).then(pl.col("rating")))
    half = Recommender(silent.backbone, silent.settings)
    half.adopt(replace(silent.parts, dataset=small_dataset.with_interactions(events)))
    found = ask_next(half, 40, users=["u3", "u5"], pool=6)
    unrated = events.filter(pl.col("rating").is_null())
    assert found.height == 6
    assert found.join(unrated, on=["user_id", "item_id"], how="semi").height == 6


def test_what_was_rated_in_another_event_is_not_asked_about(silent: Recommender, small_dataset: Dataset) -> None:
    log = small_dataset.interactions
    bare = log.with_columns(rating=pl.when(pl.col("user_id") != "u3").then(pl.col("rating")))
    own = bare.filter(pl.col("user_id") == "u3")
    rated = own.head(1).with_columns(rating=pl.lit(5.0), row=pl.lit(log.height + 1, dtype=log["row"].dtype))
    other = Recommender(silent.backbone, silent.settings)
    other.adopt(replace(silent.parts, dataset=small_dataset.with_interactions(pl.concat([rated, bare]))))
    found = ask_next(other, 40, users=["u3"], pool=own.height - 1)
    assert set(found["item_id"]) == set(own["item_id"].to_list()[1:])


def test_strangers_can_be_asked_and_only_those_named(silent: Recommender) -> None:
    found = ask_next(silent, 9, "users", users=["u3", "stranger", "u3"], pool=20)
    assert sorted(found["user_id"]) == ["stranger", "u3"]
    assert dict(zip(found["user_id"], found["events"], strict=True))["stranger"] == 0
    pairs = ask_next(silent, 4, users=["stranger"], pool=10)
    assert set(pairs["user_id"]) == {"stranger"}


def test_items_that_all_named_users_met_are_not_asked_about(silent: Recommender) -> None:
    person = silent.people(["u6"])[0]
    found = ask_next(silent, 30, "items", users=["u6"])
    met = {silent.parts.catalogue.item_ids[item] for item in person.items}
    touched = {f"i{item}" for item in range(28)}
    assert set(found["item_id"]) == touched - met


def test_the_words_of_the_t5_are_heard_where_they_weigh(fitted: Recommender) -> None:
    heard: list[int] = []
    found = ask_next(fitted, 3, users=["u3", "u5"], pool=6, progress=heard.append)
    assert sum(heard) == 6
    assert found["entropy"].is_between(0, 1).all()


def test_bad_requests_are_refused(silent: Recommender) -> None:
    with pytest.raises(SettingsError, match="use one of users, items, pairs"):
        ask_next(silent, 3, "moods")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="k is 0"):
        ask_next(silent, 0)
    with pytest.raises(SettingsError, match="balance must be between"):
        ask_next(silent, 3, balance=2.0, pool=10)
    with pytest.raises(SettingsError, match="give a list"):
        ask_next(silent, 3, users="u3")
