"""Users as persons: events in order, attributes, and what was known at some moment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from flanrec.catalogue.people import People, Person, people
from flanrec.data.dataset import Dataset


def test_every_user_has_events_in_order_with_ratings_and_attributes(small_dataset: Dataset) -> None:
    everybody = people(small_dataset)
    assert len(everybody) == 40
    for user_id, person in zip(small_dataset.user_ids, everybody, strict=True):
        user = int(user_id[1:])
        expected = (5 * user + np.arange(6 + user % 7)) % 28
        assert person.items.tolist() == expected.tolist()
        assert person.ratings.tolist() == [[5.0, 4.0, 2.0][(item % 3 - user) % 3] for item in expected]
        assert person.attributes == {"age": str(20 + user), "occupation": "writer" if user % 2 else "doctor"}


def test_users_come_in_the_order_asked_and_an_unknown_one_is_empty(small_dataset: Dataset) -> None:
    second, unknown, first = people(small_dataset, ["u2", "nobody", "u1"])
    assert (second.items[0], first.items[0]) == (10, 5)
    assert len(unknown.items) == len(unknown.ratings) == 0
    assert unknown.attributes == {}


def test_a_log_without_ratings_gives_nan(unrated_dataset: Dataset) -> None:
    assert np.isnan(people(unrated_dataset, ["u1"])[0].ratings).all()


def test_before_keeps_the_oldest_events_and_the_attributes(small_dataset: Dataset) -> None:
    person = people(small_dataset, ["u3"])[0]
    earlier = person.before(2)
    assert earlier.items.tolist() == [15, 16]
    assert earlier.ratings.tolist() == person.ratings[:2].tolist()
    assert earlier.attributes == person.attributes
    assert len(person.before(0).items) == 0
    assert len(person.before(99).items) == len(person.items)


def test_a_new_person_has_unrated_items_and_attributes_of_its_own() -> None:
    attributes = {"age": "30"}
    person = Person.new([4, 2], attributes)
    attributes["age"] = "31"
    assert person.items.dtype == np.int64
    assert person.items.tolist() == [4, 2]
    assert np.isnan(person.ratings).all()
    assert person.ratings.shape == (2,)
    assert person.attributes == {"age": "30"}
    assert len(Person.new().items) == 0


def test_times_follow_the_events(small_dataset: Dataset) -> None:
    person = people(small_dataset, ["u3"])[0]
    assert person.times is not None
    assert person.moment == person.times[-1]
    earlier = person.before(2)
    assert earlier.moment == person.times[1]
    without = person.without(1)
    assert without.items.tolist() == [person.items[0], *person.items[2:]]
    assert without.times is not None
    assert without.times.tolist() == [person.times[0], *person.times[2:]]
    assert len(without.ratings) == len(without.items)
    assert np.isnan(Person.new([1]).moment)
    assert np.isnan(person.before(0).moment)


def test_what_was_written_stands_beside_its_event(small_dataset: Dataset) -> None:
    reviews = pl.DataFrame(
        {
            "user_id": ["u3", "u3", "u3", "u3"],
            "item_id": ["i16", "i18", "i16", "i1"],
            "text": ["old", "calm", "new", "of an item never met"],
        }
    )
    data = replace(small_dataset, reviews=reviews)
    person, silent = people(data, ["u3", "u4"])
    assert person.items[:4].tolist() == [15, 16, 17, 18]
    assert person.reviews[:4] == ("", "new", "", "calm")
    assert len(person.reviews) == len(person.items)
    assert silent.reviews == ()
    assert person.before(2).reviews == ("", "new")
    assert person.without(1).reviews[:3] == ("", "", "calm")
    assert People.of(data).find(["u3"])[0].reviews == person.reviews
    rows = data.interactions
    times = {name: pl.lit(value).cast(rows[name].dtype) for name, value in (("timestamp", 2e9), ("row", 10_000))}
    again = pl.concat([rows, rows.filter(item_id="i16", user_id="u3").with_columns(**times)])
    twice = people(data.with_interactions(again), ["u3"])[0]
    assert (twice.items[1], twice.items[-1]) == (16, 16)
    assert (twice.reviews[1], twice.reviews[-1]) == ("", "new"), "beside the last of two"
    timed = replace(small_dataset, reviews=reviews.with_columns(timestamp=pl.Series([9, 1, 5, 1])))
    assert people(timed, ["u3"])[0].reviews[1] == "old", "the latest by time"
