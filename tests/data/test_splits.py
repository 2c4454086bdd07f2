"""Splits keep every event once and leak nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.data import (
    Dataset,
    Split,
    assert_no_leak,
    cold_items,
    few_users,
    leave_one_out,
    load_dataset,
    new_users,
    temporal,
)
from flanrec.data.splits import hold_out_last
from flanrec.errors import DataError, SettingsError
from flanrec.recommender.tables import joined

ITEMS = {"item_id": list(range(8)), "title": list("abcdefgh")}
Events = list[tuple[int, int, int]]
events_of_users = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 7), st.integers(0, 9)), unique=True, max_size=60)
shares = st.floats(0.05, 0.45)


def dataset(events: Events, times: bool = True) -> Dataset:
    frame = pl.DataFrame(events, schema={"user_id": pl.Int64, "item_id": pl.Int64, "timestamp": pl.Int64}, orient="row")
    if not times:
        frame = frame.drop("timestamp").unique(maintain_order=True)
    return Dataset.from_frames(frame, ITEMS)


def assert_complete(data: Dataset, split: Split) -> None:
    """Every event is in exactly one part."""
    rows = [row for part in split.parts().values() for row in part.interactions["row"].to_list()]
    assert sorted(rows) == data.interactions["row"].to_list()
    assert all(part.items is data.items for part in split.parts().values())


@given(events_of_users, st.booleans())
def test_leave_one_out_holds_out_the_two_last_events_of_each_user(events: Events, times: bool) -> None:
    data = dataset(events, times)
    split = leave_one_out(data)
    assert_complete(data, split)
    assert_no_leak(split)
    whole, train = data.sequences(), split.train.sequences(data.user_ids)
    validation, test = split.validation.sequences(data.user_ids), split.test.sequences(data.user_ids)
    for user in range(len(whole)):
        own = whole.of(user).tolist()
        if len(own) < 3:
            assert train.of(user).tolist() == own
        else:
            parts = [train.of(user).tolist(), validation.of(user).tolist(), test.of(user).tolist()]
            assert parts == [own[:-2], own[-2:-1], own[-1:]]


@given(events_of_users.filter(bool), shares, shares)
def test_temporal_parts_never_share_a_moment(events: Events, validation: float, test: float) -> None:
    data = dataset(events)
    split = temporal(data, validation, test)
    assert_complete(data, split)
    assert_no_leak(split)
    train, check, last = (part.interactions["timestamp"].to_list() for part in split.parts().values())
    assert last
    assert all(early < late for early in train for late in check + last)
    assert all(early < late for early in check for late in last)


@given(events_of_users, shares, shares, st.integers(0, 9))
def test_cold_items_are_never_trained_on(events: Events, share: float, validation: float, seed: int) -> None:
    data = dataset(events)
    split = cold_items(data, share, seed, validation=validation)
    assert_complete(data, split)
    assert_no_leak(split)
    train, check, test = (set(part.interactions["item_id"].to_list()) for part in split.parts().values())
    assert not train & check
    assert not train & test
    assert not check & test
    assert len(test) == round(share * data.interactions["item_id"].n_unique())


@given(events_of_users, shares, st.integers(0, 9))
def test_new_users_are_never_trained_on(events: Events, share: float, seed: int) -> None:
    data = dataset(events)
    split = new_users(data, share, seed)
    assert_complete(data, split)
    assert_no_leak(split)
    assert not set(split.train.user_ids) & set(split.test.user_ids)
    assert not set(split.train.user_ids) & set(split.validation.user_ids)
    assert len(split.test.user_ids) == round(share * len(data.user_ids))


@given(events_of_users.filter(lambda events: len(events) > 10), st.data())
def test_a_leak_is_found(events: Events, draw: st.DataObject) -> None:
    data = dataset(events)
    name = draw.draw(st.sampled_from(["leave-one-out", "temporal", "cold-items", "new-users"]))
    stolen = data.interactions.sort("timestamp", "row").tail(1)
    split = Split(data.with_interactions(data.interactions), data, data.with_interactions(stolen), name)
    with pytest.raises(DataError, match="leaks"):
        assert_no_leak(split)


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("leave-one-out", (0, 1, 9), (0, 2, 5)),
        ("temporal", (0, 1, 9), (1, 2, 9)),
        ("cold-items", (0, 1, 1), (1, 1, 9)),
        ("new-users", (0, 1, 1), (0, 2, 9)),
    ],
)
def test_each_rule_has_a_leak_of_its_own(name: str, train: tuple[int, int, int], test: tuple[int, int, int]) -> None:
    data = dataset([train, test])
    rows = data.interactions
    nothing = data.with_interactions(rows.head(0))
    split = Split(data.with_interactions(rows.head(1)), nothing, data.with_interactions(rows.tail(1)), name)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=f"{name} split leaks"):
        assert_no_leak(split)


def test_tied_times_are_resolved_by_the_order_of_rows() -> None:
    split = leave_one_out(dataset([(1, item, 7) for item in (5, 2, 6, 1)]))
    assert split.train.interactions["item_id"].to_list() == [5, 2]
    assert split.validation.interactions["item_id"].to_list() == [6]
    assert split.test.interactions["item_id"].to_list() == [1]


def test_a_temporal_split_without_times_is_refused() -> None:
    with pytest.raises(DataError, match="timestamps"):
        temporal(dataset([(1, 1, 1), (1, 2, 2)], times=False))


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, 2.0])
def test_shares_must_leave_something(share: float) -> None:
    with pytest.raises(SettingsError, match="shares"):
        cold_items(dataset([(1, 1, 1)]), share)


def test_given_cold_items_are_the_test_items_and_unknown_ones_are_refused() -> None:
    data = dataset([(user, item, item) for user in range(3) for item in range(8)])
    split = cold_items(data, item_ids=[3, 5])
    assert set(split.test.interactions["item_id"].to_list()) == {3, 5}
    with pytest.raises(SettingsError, match="'3'"):
        cold_items(data, item_ids=["3"])


def test_movielens_is_split_as_its_published_figures_say() -> None:
    data = load_dataset("ml-100k")
    split = leave_one_out(data)
    assert [part.interactions.height for part in split.parts().values()] == [98_114, 943, 943]
    assert_no_leak(split)
    cold = cold_items(data)
    drawn = np.random.default_rng(42).choice(np.arange(1, 1683), 252, replace=False)
    assert set(cold.test.interactions["item_id"].to_list()) == {str(item) for item in drawn}
    assert_no_leak(cold)


@given(events_of_users, shares, st.integers(0, 9))
def test_few_users_trains_on_whole_users_as_numpy_draws_them(events: Events, share: float, seed: int) -> None:
    data = dataset(events)
    split = few_users(data, share, seed)
    assert_complete(data, split)
    assert_no_leak(split)
    assert split.validation.interactions.height == 0
    if data.user_ids:
        count = max(1, round(share * len(data.user_ids)))
        drawn = np.random.default_rng(seed).choice(data.user_ids, count, replace=False)
        assert split.train.user_ids == sorted(drawn.tolist())


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_few_users_needs_a_share_between_0_and_1(share: float) -> None:
    with pytest.raises(SettingsError, match="above 0 and below 1"):
        few_users(dataset([(1, 1, 1)]), share)


def test_few_users_by_number_are_nested() -> None:
    data = dataset([(user, item, item) for user in range(7) for item in range(3)])
    trained = [few_users(data, seed=3, users=users).train.user_ids for users in range(1, 7)]
    for at, (fewer, more) in enumerate(pairwise(trained), start=1):
        assert len(fewer) == at
        assert set(fewer) < set(more)
    assert few_users(data, seed=4, users=3).train.user_ids != trained[2]
    for users in (0, 7):
        with pytest.raises(SettingsError, match=f"users is {users}; it must be at least 1 and below the 7"):
            few_users(data, users=users)


def test_a_user_in_two_parts_of_few_users_is_a_leak() -> None:
    data = dataset([(user, item, item) for user in range(4) for item in range(3)])
    split = few_users(data, 0.5, 1)
    events = split.train.interactions
    torn = replace(
        split,
        train=split.train.with_interactions(events.head(4)),
        test=split.test.with_interactions(pl.concat([events.tail(2), split.test.interactions])),
    )
    with pytest.raises(DataError, match="few-users split leaks"):
        assert_no_leak(torn)


def test_the_last_events_are_held_out_and_reviews_with_them(small_dataset: Dataset) -> None:
    rows = small_dataset.interactions
    reviews = rows.select("user_id", "item_id").with_columns(text=pl.lit("fine"))
    data = replace(small_dataset, reviews=reviews)
    train, held_out = hold_out_last(data, 4)
    for user in small_dataset.user_ids:
        whole, kept, apart = (
            part.filter(pl.col("user_id") == user)["row"].to_list()
            for part in (rows, train.interactions, held_out.interactions)
        )
        assert (kept, apart) == (whole[:-4], whole[-4:])
    assert train.reviews is not None
    assert train.reviews.height == train.interactions.height
    everything, nothing = hold_out_last(small_dataset, 11)
    assert set(nothing.interactions["user_id"]) == set(), "nobody has 13 events"
    assert everything.interactions.height + nothing.interactions.height == rows.height


def test_each_part_has_the_reviews_of_its_own_events(small_dataset: Dataset) -> None:
    rows = small_dataset.interactions
    again = rows.filter(user_id="u3").sort("timestamp").head(1)
    times = {name: pl.lit(value).cast(rows[name].dtype) for name, value in (("timestamp", 2e9), ("row", 10_000))}
    later = again.with_columns(**times)
    reviews = rows.select("user_id", "item_id").with_columns(text=pl.lit("fine"))
    data = replace(small_dataset.with_interactions(pl.concat([rows, later])), reviews=reviews)
    split = leave_one_out(data)
    parts = [part.reviews for part in (split.train, split.validation, split.test)]
    assert all(part is not None for part in parts)
    train, validation, test = (set(part.select("user_id", "item_id").rows()) for part in parts if part is not None)
    assert not train & validation
    assert not (train | validation) & test
    repeated = ("u3", again["item_id"][0])
    assert repeated in test, "met again in the test part"
    assert repeated not in train
    both = joined(split.train, split.validation)
    assert both.reviews is not None
    assert set(both.reviews.select("user_id", "item_id").rows()) == train | validation
