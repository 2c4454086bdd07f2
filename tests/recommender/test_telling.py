"""Items to ask somebody new about, on logs whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from flanrec.data import Dataset
from flanrec.recommender.telling import telling_items


def test_items_that_tell_of_others_come_first_and_what_they_told_is_not_asked_again() -> None:
    # Items 0 and 1 are liked by one half and disliked by the other; 2 and 3 by halves of their own, 4 by everybody.
    users = np.arange(40)
    tastes = [users % 2] * 2 + [(users // 2) % 2, (users // 4) % 2, np.ones(40, dtype=int)]
    log = Dataset.from_frames(
        {"user_id": np.tile(users, 5), "item_id": np.repeat(np.arange(5), 40),
         "rating": np.where(np.concatenate(tastes) > 0, 5.0, 1.0)},
        {"item_id": np.arange(6), "title": [f"Title {letter}" for letter in "ABCDEF"]},
    ).sequences()  # fmt: skip
    items, shares = telling_items(log, 3, 4.0, np.arange(6))
    assert items[0] == 0
    assert set(items[1:].tolist()) == {2, 3}
    # The first four vary by one each; the noise is the mean of all six. The first answer explains two of them.
    part = 1 / (1 + 4 / 6)
    assert shares.tolist() == pytest.approx([2 * part / 4, part / 4, part / 4])
    among = np.array([1, 3, 4])
    assert set(telling_items(log, 9, 4.0, among)[0].tolist()) == {1, 3, 4}


def test_without_ratings_it_is_asked_whether_somebody_knows_an_item() -> None:
    log = Dataset.from_frames(
        {"user_id": [1, 2, 3, 4, 1, 2], "item_id": [7, 7, 7, 7, 8, 8]}, {"item_id": [7, 8], "title": ["Ash", "Birch"]}
    ).sequences()
    items, shares = telling_items(log, 2, 4.0, np.arange(2))
    assert items.tolist() == [1, 0], "everybody knows the first one"
    assert shares[1] == pytest.approx(0.0)


def test_the_last_rating_of_an_item_that_was_met_twice_counts() -> None:
    def shares(first: float, last: float) -> list[float]:
        events = {"user_id": [1, 2, 1, 2], "item_id": [7, 7, 7, 7], "timestamp": [10, 10, 20, 20]}
        log = Dataset.from_frames({**events, "rating": [first, 1.0, last, 1.0]}, {"item_id": [7], "title": ["Ash"]})
        return telling_items(log.sequences(), 1, 4.0, np.arange(1))[1].tolist()

    assert shares(1.0, 5.0) == pytest.approx([0.5]), "two users disagree, and noise is as large"
    assert shares(5.0, 1.0) == pytest.approx([0.0]), "in the end both dislike it"


def test_a_log_without_events_tells_nothing() -> None:
    log = Dataset.from_frames({"user_id": [1], "item_id": [7]}, {"item_id": [7, 8], "title": ["Ash", "Birch"]})
    items, shares = telling_items(log.sequences([]), 2, 4.0, np.arange(2))
    assert items.tolist() == [0, 1]
    assert shares.tolist() == [0.0, 0.0]
    assert telling_items(log.sequences(), 3, 4.0, np.zeros(0, dtype=np.int64))[0].tolist() == []
