from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.errors import DataError, SettingsError
from flanrec.metrics import probability

# Eighths are exact in binary, so that ties are ties.
PAIRS = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 1), st.integers(0, 8).map(lambda n: n / 8)),
    min_size=1,
    max_size=30,
)


def plain_auc(pairs: list[tuple[int, float]]) -> float:
    wins = [
        1.0 if yes > no else 0.5 if yes == no else 0.0
        for label, yes in pairs
        if label
        for other, no in pairs
        if not other
    ]
    return sum(wins) / len(wins) if wins else math.nan


@given(rows=PAIRS)
def test_auc_pooled_and_by_user_agree_with_counting_pairs(rows: list[tuple[str, int, float]]) -> None:
    users, labels, scores = (list(column) for column in zip(*rows, strict=True))
    assert probability.auc(labels, scores) == pytest.approx(
        plain_auc(list(zip(labels, scores, strict=True))), nan_ok=True
    )
    by_user = probability.auc_by_user(users, labels, scores)
    expected = [plain_auc([(y, s) for u, y, s in rows if u == user]) for user in sorted(set(users))]
    assert by_user == pytest.approx(expected, nan_ok=True)
    defined = [value for value in expected if not math.isnan(value)]
    mean = sum(defined) / len(defined) if defined else math.nan
    assert probability.user_auc(users, labels, scores) == pytest.approx(mean, nan_ok=True)


def test_user_auc_does_not_reward_telling_users_apart() -> None:
    # Pooled, user a scores all high and says mostly yes; within each user the order is wrong.
    users, labels = ["a", "a", "a", "b", "b", "b"], [1, 1, 0, 1, 0, 0]
    scores = [0.8, 0.81, 0.9, 0.1, 0.2, 0.3]
    assert probability.user_auc(users, labels, scores) == 0.0
    assert probability.auc(labels, scores) == pytest.approx(4 / 9)


def test_calibration_error_worked_out_by_hand() -> None:
    # [.1, .2): mean .15, yes 1/2, gap .35; last bin: mean .975, yes 1, gap .025.
    labels, probabilities = [0, 1, 1, 1], [0.1, 0.2 - 1e-12, 0.95, 1.0]
    assert probability.expected_calibration_error(labels, probabilities) == pytest.approx((2 * 0.35 + 2 * 0.025) / 4)
    bins = probability.calibration_bins(labels, probabilities)
    assert [(b.low, b.high, b.pairs) for b in bins] == [(0.1, 0.2, 2), (0.9, 1.0, 2)]


def test_a_probability_on_an_edge_belongs_to_the_bin_above() -> None:
    for edge in range(10):
        (only,) = probability.calibration_bins([1], [edge / 10])
        assert only.low == edge / 10


@given(rows=PAIRS)
def test_calibration_error_brier_and_log_loss_agree_with_plain_python(rows: list[tuple[str, int, float]]) -> None:
    _, labels, given_probabilities = (list(column) for column in zip(*rows, strict=True))
    bins: dict[int, list[tuple[int, float]]] = {}
    for label, value in zip(labels, given_probabilities, strict=True):
        bins.setdefault(min(int(value * 10), 9), []).append((label, value))
    gaps = sum(abs(sum(y for y, _ in pairs) - sum(p for _, p in pairs)) for pairs in bins.values())
    assert probability.expected_calibration_error(labels, given_probabilities) == pytest.approx(
        gaps / len(rows), abs=1e-12
    )
    squares = [(p - y) ** 2 for y, p in zip(labels, given_probabilities, strict=True)]
    assert probability.brier(labels, given_probabilities) == pytest.approx(sum(squares) / len(rows))
    losses = [-math.log(max(p if y else 1 - p, 1e-15)) for y, p in zip(labels, given_probabilities, strict=True)]
    assert probability.log_loss(labels, given_probabilities) == pytest.approx(sum(losses) / len(rows))


def test_always_the_base_rate_is_calibrated_and_orders_nothing() -> None:
    labels = np.array([1, 1, 1, 0])
    same = np.full(4, 0.75)
    assert probability.expected_calibration_error(labels, same) == 0.0
    assert probability.auc(labels, same) == 0.5
    assert probability.brier(labels, same) == pytest.approx(0.1875)


def test_without_pairs_or_with_one_label_nothing_is_made_up() -> None:
    assert math.isnan(probability.auc([], []))
    assert math.isnan(probability.auc([1, 1], [0.2, 0.3]))
    assert math.isnan(probability.expected_calibration_error([], []))
    assert math.isnan(probability.brier([], []))
    assert math.isnan(probability.log_loss([], []))
    assert len(probability.auc_by_user([], [], [])) == 0


@pytest.mark.parametrize(
    ("labels", "values", "said"),
    [
        ([1, 0], [0.5], "one length"),
        ([1, 4], [0.5, 0.5], "labels must be 0 or 1"),
        ([1, 0], [0.5, math.nan], "pair 1 is nan"),
        ([1, 0], [1.5, 0.5], "pair 0 is 1.5, outside"),
    ],
)
def test_pairs_that_cannot_be_right_are_refused(labels: list[int], values: list[float], said: str) -> None:
    with pytest.raises(DataError, match=said):
        probability.brier(labels, values)


def test_users_of_another_length_and_no_bins_are_refused() -> None:
    with pytest.raises(DataError, match="1 users for 2 pairs"):
        probability.auc_by_user(["a"], [0, 1], [0.1, 0.2])
    with pytest.raises(SettingsError, match="bins"):
        probability.expected_calibration_error([1], [0.5], bins=0)
