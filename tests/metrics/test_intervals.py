from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.errors import DataError, SettingsError
from flanrec.metrics.intervals import (
    bootstrap_interval,
    bootstrap_statistic,
    interval_of,
    paired_bootstrap,
    resampled_means,
)

VALUES = st.lists(st.floats(0, 1) | st.just(math.nan), min_size=1, max_size=40)


@given(values=VALUES)
def test_the_interval_holds_the_mean_of_the_drawn_values_and_stays_within_their_range(values: list[float]) -> None:
    interval = bootstrap_interval(values, resamples=200)
    defined = [value for value in values if not math.isnan(value)]
    assert interval.count == len(defined)
    if not defined:
        assert math.isnan(interval.value)
        return
    assert interval.value == pytest.approx(sum(defined) / len(defined))
    assert min(defined) - 1e-9 <= interval.low <= interval.high <= max(defined) + 1e-9


@pytest.mark.parametrize("distinct", [True, False], ids=["every value different", "few values"])
def test_the_interval_of_a_mean_is_as_wide_as_theory_says(distinct: bool) -> None:
    generator = np.random.default_rng(5)
    values = generator.normal(0, 1, 900) if distinct else generator.integers(0, 2, 900).astype(float)
    interval = bootstrap_interval(values, seed=7, resamples=4000)
    error = values.std() / math.sqrt(len(values))
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        interval = bootstrap_interval(generator.random(80) < 0.3, resamples=300)
        held += interval.low <= 0.3 <= interval.high
    assert 0.90 <= held / 300 <= 0.98


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(1).random(60)
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


def test_a_paired_comparison_sees_a_small_steady_gain_that_the_single_intervals_hide() -> None:
    generator = np.random.default_rng(2)
    base = generator.random(300)
    better = base + generator.normal(0.02, 0.01, 300)
    assert bootstrap_interval(better).low < bootstrap_interval(base).high
    difference = paired_bootstrap(better, base)
    assert difference.low > 0
    assert difference.value == pytest.approx(float((better - base).mean()))
    assert difference.p_value < 0.01


def test_a_paired_comparison_with_itself_finds_nothing() -> None:
    values = np.random.default_rng(3).random(50)
    difference = paired_bootstrap(values, values)
    assert (difference.value, difference.low, difference.high, difference.p_value) == (0, 0, 0, 1)


def test_users_undefined_on_either_side_are_left_out_of_both() -> None:
    difference = paired_bootstrap([1.0, math.nan, 0.5, 0.25], [0.5, 1.0, math.nan, 0.25], resamples=50)
    assert (difference.count, difference.value) == (2, 0.25)
    nothing = paired_bootstrap([math.nan], [1.0])
    assert nothing.count == 0
    assert math.isnan(nothing.p_value)


def test_a_statistic_is_drawn_by_user_with_all_the_rows_of_the_user() -> None:
    users = np.array(["b", "a", "b", "c", "a"])
    seen: list[np.ndarray] = []

    def mean_row(rows: np.ndarray) -> float:
        seen.append(rows)
        return float(np.mean(rows))

    interval = bootstrap_statistic(mean_row, users, resamples=30)
    assert (interval.value, interval.count) == (2.0, 3)
    for rows in seen:
        counts = {name: np.bincount(rows, minlength=5)[users == name] for name in "abc"}
        assert all(len(set(times.tolist())) == 1 for times in counts.values())
        assert sum(int(times[0]) for times in counts.values()) == 3


def test_a_statistic_of_the_mean_has_the_interval_of_the_mean() -> None:
    values = np.random.default_rng(8).random(200)
    by_mean = bootstrap_interval(values, resamples=2000)
    by_rows = bootstrap_statistic(lambda rows: float(values[rows].mean()), np.arange(200), resamples=2000)
    assert by_rows.low == pytest.approx(by_mean.low, abs=0.005)
    assert by_rows.high == pytest.approx(by_mean.high, abs=0.005)


def test_settings_and_values_that_cannot_work_are_refused() -> None:
    with pytest.raises(SettingsError, match="resamples"):
        bootstrap_interval([1.0], resamples=0)
    with pytest.raises(SettingsError, match="level"):
        bootstrap_interval([1.0], level=95)
    with pytest.raises(DataError, match="user row 1 is infinite"):
        bootstrap_interval([1.0, math.inf])
    with pytest.raises(DataError, match="one value a user from both"):
        paired_bootstrap([1.0, 2.0], [1.0])


def test_methods_share_their_draws_and_do_not_depend_on_their_company() -> None:
    values = np.random.default_rng(0).random((80, 4))
    drawn = resampled_means(values, seed=3, resamples=50)
    assert np.array_equal(resampled_means(values[:, [2]], seed=3, resamples=50), drawn[:, [2]])
    same = resampled_means(np.stack([values[:, 0], values[:, 0] + 0.25], axis=1), seed=3, resamples=50)
    assert same[:, 1] - same[:, 0] == pytest.approx(0.25)


def test_shared_draws_have_the_mean_and_the_spread_of_the_bootstrap() -> None:
    values = np.random.default_rng(1).random(200)
    drawn = resampled_means(values[:, None], resamples=4000)[:, 0]
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.002)
    assert drawn.std() == pytest.approx(values.std() / np.sqrt(200), rel=0.05)
    ours, usual = interval_of(float(values.mean()), drawn, 200), bootstrap_interval(values)
    assert (ours.value, ours.count) == (usual.value, usual.count)
    assert (ours.low, ours.high) == pytest.approx((usual.low, usual.high), abs=0.005)


@pytest.mark.parametrize("values", [np.zeros((0, 2)), np.zeros(3), np.array([[1.0], [np.nan]])])
def test_shared_draws_need_a_value_of_every_method(values: np.ndarray) -> None:
    with pytest.raises(DataError, match="finite value of each method"):
        resampled_means(values)
