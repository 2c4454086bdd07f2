"""Profiles say what the events say, and nothing of later events."""

from __future__ import annotations

import pytest

from flanrec.data import Dataset, Profile, leave_one_out, profile, profiles

ITEMS = {
    "item_id": [1, 2, 3, 4, 5, 6],
    "title": ["Alien", "Aliens", "Heat", "Saw", "Scream", "It"],
    "category": [["Sci-Fi", "Horror"], ["Sci-Fi"], ["Crime"], ["Horror"], ["Horror"], ["Horror"]],
}


@pytest.fixture
def data() -> Dataset:
    events = {
        "user_id": [1, 1, 1, 1, 1, 1, 2],
        "item_id": [1, 2, 3, 4, 5, 6, 3],
        "timestamp": [1, 2, 3, 4, 5, 6, 1],
        "rating": [5, 4, 4, 1, 2, 3, None],
    }
    users = {"user_id": [1, 2], "age": [31, None], "occupation": ["writer", " "]}
    return Dataset.from_frames(events, ITEMS, users)


def test_a_profile_counts_likes_and_dislikes(data: Dataset) -> None:
    assert profile(data, 1) == Profile(
        attributes={"age": "31", "occupation": "writer"},
        favourite_categories=("Sci-Fi", "Crime"),
        disliked_categories=("Horror",),
        liked=("Alien", "Aliens", "Heat"),
        events=6,
        like_rate=0.5,
        category_counts=(("Horror", 4), ("Sci-Fi", 2), ("Crime", 1)),
    )


def test_without_ratings_every_event_is_liked_and_there_is_no_rate(data: Dataset) -> None:
    found = profile(data, 2)
    assert found.like_rate is None
    assert found.liked == ("Heat",)
    assert found.attributes == {}


def test_an_unknown_user_has_an_empty_profile(data: Dataset) -> None:
    assert profile(data, 99) == Profile({}, (), (), (), 0, None)


def test_a_profile_of_the_train_part_knows_nothing_of_held_out_events(data: Dataset) -> None:
    train = leave_one_out(data).train
    found = profile(train, 1)
    assert found.events == 4
    assert found.disliked_categories == ()
    cut = data.with_interactions(data.interactions.filter(data.interactions["timestamp"] <= 4))
    assert profiles(cut, [1]) == [found]


def test_the_newest_liked_titles_come_last_and_are_few() -> None:
    count = 9
    data = Dataset.from_frames(
        {"user_id": [1] * count, "item_id": list(range(count))},
        {"item_id": list(range(count)), "title": [f"T{item}" for item in range(count)]},
    )
    assert profile(data, 1).liked == ("T4", "T5", "T6", "T7", "T8")


def test_a_profile_has_the_newest_two_reviews_of_its_own_events(data: Dataset) -> None:
    reviews = {"user_id": [1, 1, 1, 2], "item_id": [3, 1, 5, 6], "text": ["Tense", "Dark", "Silly", "never met"]}
    events = data.interactions.select("user_id", "item_id", "timestamp", "rating")
    told = Dataset.from_frames(events, ITEMS, reviews=reviews)
    assert profile(told, 1).reviews == (("Heat", "Tense"), ("Scream", "Silly"))
    assert profile(told, 2).reviews == ()
    assert profile(leave_one_out(told).train, 1).reviews == (("Alien", "Dark"), ("Heat", "Tense"))
