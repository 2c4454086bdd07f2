"""The odds of yes without words, against numbers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanrec.catalogue.like_rates import LikeRates
from flanrec.data.sequences import Sequences


def log_of(events: list[tuple[int, float]], n_items: int) -> Sequences:
    items = np.array([item for item, _ in events], dtype=np.int64)
    ratings = np.array([rating for _, rating in events], dtype=np.float32)
    times = np.full(len(events), np.nan)
    return Sequences([0], list(range(n_items)), np.array([0, len(events)]), items, ratings, times)


def logit(rate: float) -> float:
    return math.log(rate / (1 - rate))


RATED = log_of([(0, 5), (0, 4), (0, 1), (1, 2), (1, float("nan")), (2, 3)], 4)


def test_counts_are_of_rated_events_only() -> None:
    rates = LikeRates.of(RATED)
    assert rates.rated
    assert rates.likes.tolist() == [2, 0, 0, 0]
    assert rates.counts.tolist() == [3, 1, 1, 0]
    assert rates.overall == pytest.approx((2 + 1) / (5 + 2))


def test_what_is_liked_can_be_said() -> None:
    assert LikeRates.of(RATED, liked_rating=2.0).likes.tolist() == [2, 1, 1, 0]


def test_log_odds_are_those_computed_by_hand() -> None:
    rates = LikeRates.of(RATED)
    got = rates.log_odds(np.array([0, 3]), np.array([6.0, 0.0]), np.array([8.0, 0.0]))
    overall = 3 / 7
    item = logit((2 + 10 * overall) / (3 + 10))
    user = logit((6 + 10 * overall) / (8 + 10))
    # An unknown item and an unknown user leave the overall odds.
    assert got.tolist() == pytest.approx([item + user - logit(overall), logit(overall)])


def test_an_answer_taken_out_is_as_if_it_had_not_been_given() -> None:
    rates = LikeRates.of(RATED)
    got = rates.log_odds(np.array([0, 0]), np.array([6.0, 6.0]), np.array([8.0, 8.0]), without=np.array([True, False]))
    overall = 3 / 7
    for odds, own in zip(got, (1, 0), strict=True):
        item = logit((2 - own + 10 * overall) / (2 + 10))
        user = logit((6 - own + 10 * overall) / (7 + 10))
        assert odds == pytest.approx(item + user - logit(overall))
    # Without leaving it out, an answer would speak for itself.
    assert got[0] < got[1]


def test_without_ratings_the_odds_are_those_of_the_popularity() -> None:
    nan = float("nan")
    rates = LikeRates.of(log_of([(0, nan), (0, nan), (0, nan), (1, nan)], 3))
    assert not rates.rated
    assert rates.counts.tolist() == [3, 1, 0]
    nobody = np.zeros(3)
    got = rates.log_odds(np.array([0, 1, 2]), nobody, nobody)
    assert got.tolist() == pytest.approx([math.log(3 * count / 7) for count in (4, 2, 1)])
    less = rates.log_odds(np.array([0, 2]), nobody[:2], nobody[:2], without=np.array([True, False]))
    assert less.tolist() == pytest.approx([math.log(3 * 3 / 6), math.log(3 * 1 / 7)])


@settings(max_examples=60, deadline=None)
@given(
    events=st.lists(st.tuples(st.integers(0, 4), st.sampled_from([1.0, 3.0, 4.0, 5.0])), min_size=1, max_size=30),
    at=st.integers(0, 29),
)
def test_odds_are_finite_and_an_own_like_never_lowers_the_odds(events: list[tuple[int, float]], at: int) -> None:
    rates = LikeRates.of(log_of(events, 5))
    item, rating = events[at % len(events)]
    liked = rating >= 4
    likes, counts = float(sum(value >= 4 for _, value in events)), float(len(events))
    pair = np.array([item]), np.array([likes]), np.array([counts])
    own, others = float(rates.log_odds(*pair)[0]), float(rates.log_odds(*pair, without=np.array([liked]))[0])
    assert math.isfinite(own)
    assert math.isfinite(others)
    assert own > others if liked else own < others
