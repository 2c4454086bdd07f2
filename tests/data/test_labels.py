"""Ratings that come later: only unrated events take them, and everything else stays."""

from __future__ import annotations

import logging

import polars as pl
import pytest

from flanrec.data import Dataset
from flanrec.data.labels import with_labels
from flanrec.errors import DataError

ITEMS = {"item_id": [7, 8, 9], "title": ["Ash", "Birch", "Cedar"]}


def log(**columns: object) -> Dataset:
    return Dataset.from_frames({"user_id": [1, 1, 2], "item_id": [7, 8, 7], **columns}, ITEMS)


def labels(*rows: tuple[object, object, float | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, ["user_id", "item_id", "rating"], orient="row")


def test_an_unrated_event_takes_its_label_and_a_rated_one_keeps_its_rating() -> None:
    given = labels((1, 8, 2.0), (1, 7, 1.0), (2, 7, 4.0))
    filled = with_labels(log(rating=[5.0, None, None]), given)
    assert filled.interactions["rating"].to_list() == [5.0, 2.0, 4.0]


def test_a_log_without_ratings_gets_the_column() -> None:
    filled = with_labels(log(), labels((1, 8, 2.0)))
    assert filled.interactions["rating"].to_list() == [None, 2.0, None]
    assert filled.interactions.columns[:-1] == log().interactions.columns


def test_labels_of_no_event_are_counted_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="flanrec"):
        filled = with_labels(log(rating=[5.0, None, None]), labels((1, 9, 2.0), (3, 7, 2.0), (1, 8, 3.0)))
    assert filled.interactions.height == 3
    assert "1 events got a rating, 2 of 3 labels are of no unrated event" in caplog.text


def test_events_that_are_set_apart_stay_without_a_rating(caplog: pytest.LogCaptureFixture) -> None:
    unrated = log(rating=[5.0, None, None])
    apart = unrated.interactions.filter(pl.col("user_id") == 2)["row"]
    with caplog.at_level(logging.INFO, logger="flanrec"):
        filled = with_labels(unrated, labels((1, 8, 2.0), (2, 7, 4.0)), without=apart)
    assert filled.interactions["rating"].to_list() == [5.0, 2.0, None]
    assert "1 events got a rating, 1 of 2 labels" in caplog.text


def test_the_last_label_of_a_pair_counts_and_one_without_a_rating_does_not() -> None:
    filled = with_labels(log(), labels((1, 8, 2.0), (1, 8, 3.0), (2, 7, None)))
    assert filled.interactions["rating"].to_list() == [None, 3.0, None]


def test_ids_may_come_as_texts_and_fractions_may_not() -> None:
    filled = with_labels(log(), labels(("1", "8", 2.0)))
    assert filled.interactions["rating"].to_list() == [None, 2.0, None]
    with pytest.raises(DataError, match="user_id as String, the interactions as Int64"):
        with_labels(log(), labels(("u1", 8, 2.0)))


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="lack the column rating; they have user_id, item_id"):
        with_labels(log(), labels((1, 8, 2.0)).drop("rating"))
