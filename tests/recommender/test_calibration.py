from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize  # type: ignore[import-untyped]

from flanrec.recommender import Calibration


def planted(rule: float, words: float, intercept: float, count: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 1.5, (2, count))
    chance = 1 / (1 + np.exp(-(rule * odds[0] + words * odds[1] + intercept)))
    return odds[0], odds[1], rng.random(count) < chance


def test_planted_coefficients_are_found() -> None:
    found = Calibration.fit(*planted(0.6, 1.7, -0.8, 40_000))
    assert (found.rule, found.words, found.intercept) == pytest.approx((0.6, 1.7, -0.8), abs=0.06)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_too_few_pairs_leave_the_plain_sum(count: int) -> None:
    rule, words, liked = planted(0.2, 3.0, 1.0, 20)
    assert Calibration.fit(rule[:count], words[:count], liked[:count]) == Calibration(1.0, 1.0, 0.0)


@pytest.mark.parametrize("answer", [True, False])
def test_one_answer_only_leaves_the_plain_sum(answer: bool) -> None:
    rule, words, liked = planted(0.2, 3.0, 1.0, 50)
    assert Calibration.fit(rule, words, np.full(len(liked), answer)) == Calibration()


def test_few_pairs_move_little_from_the_plain_sum() -> None:
    few = Calibration.fit(*planted(0.2, 0.2, 0.0, 12))
    many = Calibration.fit(*planted(0.2, 0.2, 0.0, 2000))
    assert abs(many.words - 0.2) < abs(few.words - 0.2)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(shift=st.floats(-30, 30), scale=st.floats(0.01, 8), count=st.integers(10, 60), seed=st.integers(0, 99))
def test_the_fit_is_the_minimum_of_its_loss_however_far_the_odds_lie(
    shift: float, scale: float, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rule, words = rng.normal(size=count), shift + scale * rng.normal(size=count)
    liked = rng.random(count) < 0.5
    liked[:2] = True, False

    def loss(weights: np.ndarray) -> float:
        odds = weights[0] * rule + weights[1] * words + weights[2]
        away = (weights - np.array([1.0, 1.0, 0.0])) ** 2
        return float((np.logaddexp(0, odds) - liked * odds).sum() + away @ np.array([1.0, 1.0, 0.1]))

    found = Calibration.fit(rule, words, liked)
    best = minimize(loss, np.array([1.0, 1.0, 0.0]), method="BFGS")
    assert loss(np.array([found.rule, found.words, found.intercept])) <= best.fun + 1e-5


def test_probabilities_follow_the_formula_and_stay_in_bounds() -> None:
    calibration = Calibration(0.5, 2.0, -1.0)
    given_odds = np.array([0.0, 2.0, 1000.0, -1000.0])
    chances = calibration.probabilities(given_odds, np.array([0.0, 1.0, 1000.0, -1000.0]))
    assert chances == pytest.approx([1 / (1 + np.e), 1 / (1 + np.exp(-2.0)), 1.0, 0.0])
    assert ((chances >= 0) & (chances <= 1)).all()


def test_words_are_left_out_where_they_do_not_help_pairs_left_out() -> None:
    rng = np.random.default_rng(0)
    rule, words = rng.normal(size=2000), rng.normal(size=2000)
    helped = rng.random(2000) < 1 / (1 + np.exp(-(rule + words)))
    heard = Calibration.chosen(rule, words, helped)
    assert heard == Calibration.fit(rule, words, helped)
    assert heard.words == pytest.approx(1.0, abs=0.25)
    # Words that say nothing are left out more often than not; the order is then that of the rates.
    silent = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rule, noise = rng.normal(size=200), rng.normal(size=200)
        alone = rng.random(200) < 1 / (1 + np.exp(-rule))
        chosen = Calibration.chosen(rule, noise, alone)
        assert chosen.rule > 0
        if chosen.words == 0.0:
            silent += 1
            assert np.argsort(chosen.probabilities(rule, noise)).tolist() == np.argsort(rule).tolist()
        else:
            assert chosen == Calibration.fit(rule, noise, alone)
    assert 10 < silent < 20
    few = slice(0, 20)
    assert Calibration.chosen(rule[few], noise[few], alone[few]) == Calibration.fit(rule[few], noise[few], alone[few])
