from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.errors import DataError, SettingsError
from flanrec.metrics import UserItems
from flanrec.metrics.lists import EMPTY
from flanrec.ranking.taste import SMOOTHING, calibrated, divergence_of_lists, mixture_of_histories, taste_term

SEEDS = st.integers(0, 2**32 - 1)


def draw(seed: int, users: int = 3, width: int = 8, items: int = 14, categories: int = 4):
    rng = np.random.default_rng(seed)
    members = (rng.random((items, categories)) < 0.4).astype(np.float64)
    shares = members / np.maximum(members.sum(axis=1, keepdims=True), 1)
    candidates = np.array([rng.permutation(items)[:width] for _ in range(users)])
    histories = UserItems.from_lists([rng.integers(0, items, rng.integers(0, 6)).tolist() for _ in range(users)])
    return rng.normal(size=candidates.shape), candidates, histories, shares


def divergence(wanted, sums) -> float:
    given_ = sums / sums.sum() if sums.sum() else sums
    return sum(
        p * math.log(p / ((1 - SMOOTHING) * q + SMOOTHING * p)) for p, q in zip(wanted, given_, strict=True) if p > 0
    )


@given(seed=SEEDS, weight=st.floats(0, 1))
def test_each_item_is_the_best_next_one_by_a_slow_loop(seed: int, weight: float) -> None:
    scores, candidates, histories, shares = draw(seed)
    wanted = mixture_of_histories(histories, shares, 3)
    rows = calibrated(scores, candidates, histories, shares, 5, weight)
    for user, row in enumerate(rows.tolist()):
        values = scores[user]
        level = dict(zip(candidates[user].tolist(), (values - values.min()) / np.ptp(values), strict=True))
        left, sums = list(level), np.zeros(shares.shape[1])
        for item in row:
            worth = {one: (1 - weight) * level[one] - weight * divergence(wanted[user], sums + shares[one])
                     for one in left}  # fmt: skip
            assert worth[item] >= max(worth.values()) - 1e-9
            left.remove(item)
            sums = sums + shares[item]


@given(seed=SEEDS, k=st.integers(1, 9))
def test_weight_zero_is_the_plain_order(seed: int, k: int) -> None:
    scores, candidates, histories, shares = draw(seed)
    expected = np.take_along_axis(candidates, np.argsort(-scores, axis=1, kind="stable"), axis=1)[:, :k]
    assert calibrated(scores, candidates, histories, shares, k, 0).tolist() == [
        [*row, *[EMPTY] * (k - len(row))] for row in expected.tolist()
    ]


@given(seed=SEEDS)
def test_one_item_by_calibration_alone_is_never_farther_from_the_history(seed: int) -> None:
    scores, candidates, histories, shares = draw(seed)
    before = divergence_of_lists(calibrated(scores, candidates, histories, shares, 1, 0), histories, shares)
    after = divergence_of_lists(calibrated(scores, candidates, histories, shares, 1, 1), histories, shares)
    both = np.isfinite(before) & np.isfinite(after)
    assert np.all(after[both] <= before[both] + 1e-9)


@given(seed=SEEDS)
def test_calibration_alone_brings_lists_of_many_users_nearer_on_average(seed: int) -> None:
    scores, candidates, histories, shares = draw(seed, users=60, width=12)
    values = [
        divergence_of_lists(calibrated(scores, candidates, histories, shares, 5, weight), histories, shares)
        for weight in (0, 1)
    ]
    assert np.nanmean(values[1]) < np.nanmean(values[0]) + 1e-12


@given(seed=SEEDS)
def test_the_gain_of_a_first_item_is_the_divergence_of_a_list_of_it(seed: int) -> None:
    _, candidates, histories, shares = draw(seed)
    gains = taste_term(histories, shares, 3)(candidates, np.arange(3)).gains()
    for at in range(candidates.shape[1]):
        expected = divergence_of_lists(candidates[:, [at]], histories, shares)
        known = np.isfinite(expected)
        assert -gains[known, at] == pytest.approx(expected[known], abs=1e-9)


def test_a_history_of_seven_to_three_gives_a_list_of_seven_to_three() -> None:
    shares = np.repeat(np.eye(2), 20, axis=0)
    history = UserItems.from_lists([[0] * 7 + [20] * 3])
    candidates = np.concatenate([np.arange(1, 20), np.arange(21, 40)])[None, :]
    scores = np.linspace(1, 0, 38)[None, :]
    listed = calibrated(scores, candidates, history, shares, 10, weight=0.99)[0]
    assert (listed < 20).sum() == 7
    assert divergence_of_lists(listed[None, :], history, shares)[0] == pytest.approx(0, abs=1e-12)


def test_divergence_worked_out_by_hand() -> None:
    shares = np.eye(2)
    history = UserItems.from_lists([[0, 1], [0], []])
    values = divergence_of_lists(np.array([[0, -1], [1, -1], [0, 1]]), history, shares)
    expected = 0.5 * math.log(0.5 / (0.99 + 0.005)) + 0.5 * math.log(0.5 / 0.005)
    assert values[:2] == pytest.approx([expected, math.log(100)])
    assert math.isnan(values[2])


def test_users_without_categories_in_their_history_keep_the_plain_order() -> None:
    shares = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    history = UserItems.from_lists([[0], []])
    scores = np.array([[0.1, 0.9, 0.5]] * 2)
    assert calibrated(scores, np.tile(np.arange(3), (2, 1)), history, shares, 3, 1.0).tolist() == [[1, 2, 0]] * 2
    assert calibrated(scores, np.tile(np.arange(3), (2, 1)), history, shares, 3, 0.9).tolist() == [[1, 2, 0]] * 2


def test_what_cannot_work_is_refused() -> None:
    scores, candidates, histories, shares = draw(3)
    with pytest.raises(SettingsError, match="weight must be between"):
        calibrated(scores, candidates, histories, shares, 3, weight=-0.1)
    with pytest.raises(DataError, match="2 were expected"):
        calibrated(scores[:2], candidates[:2], histories, shares, 3)
    with pytest.raises(DataError, match="histories name item 13"):
        calibrated(scores[:1], candidates[:1] % 5, UserItems.from_lists([[13]]), shares[:5], 3)
