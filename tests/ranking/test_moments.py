"""Popularity in windows before a moment."""

from __future__ import annotations

import numpy as np
import pytest

from flanrec.data import Sequences
from flanrec.ranking.moments import Moments

DAY = 86_400.0


@pytest.fixture
def moments() -> Moments:
    items = np.array([0, 1, 1, 2, 0, 2], dtype=np.int64)
    times = np.array([0.0, 1.0, 2.0, np.nan, 9.0, 10.0]) * DAY
    log = Sequences(["a", "b"], ["x", "y", "z"], np.array([0, 3, 6]), items, np.zeros(6, np.float32), times)
    return Moments.of(log)


def test_only_events_of_the_window_count(moments: Moments) -> None:
    found = np.exp(moments.log_shares([2.5 * DAY], 2.0))[0]
    np.testing.assert_allclose(found, np.array([0.5, 2.5, 0.5]) / 3.5, rtol=1e-5)


def test_the_moment_itself_does_not_count_and_nothing_after_it_does(moments: Moments) -> None:
    found = np.exp(moments.log_shares([9.0 * DAY], 20.0))[0]
    np.testing.assert_allclose(found, np.array([1.5, 2.5, 0.5]) / 4.5, rtol=1e-5)


def test_an_unknown_moment_is_the_newest(moments: Moments) -> None:
    np.testing.assert_array_equal(moments.log_shares([float("nan")], 5.0), moments.log_shares([10.0 * DAY], 5.0))


def test_without_times_all_items_are_equal() -> None:
    log = Sequences(["a"], ["x", "y"], np.array([0, 1]), np.array([0]), np.zeros(1, "f4"), np.array([np.nan]))
    found = Moments.of(log).log_shares([float("nan"), 5.0], 7.0)
    np.testing.assert_allclose(found, np.log(0.5), rtol=1e-5)
