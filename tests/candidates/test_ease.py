from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanrec.candidates import Ease
from flanrec.errors import SettingsError

HISTORIES = st.lists(st.lists(st.integers(0, 5), max_size=7), max_size=6)


def by_columns(logged: list[list[int]], l2: float) -> np.ndarray:
    """Each column as a ridge regression of one item on all others."""
    met = np.zeros((len(logged), 6))
    for user, each in enumerate(logged):
        met[user, each] = 1
    weights = np.zeros((6, 6))
    for item in range(6):
        others = [other for other in range(6) if other != item]
        x = met[:, others]
        weights[others, item] = np.linalg.solve(x.T @ x + l2 * np.eye(5), x.T @ met[:, item])
    return weights


@settings(deadline=None)
@given(HISTORIES, HISTORIES, st.sampled_from([0.5, 10.0]), st.sampled_from([0.7, 1.0]))
def test_scores_equal_one_ridge_regression_an_item(
    make_log, logged: list[list[int]], asked: list[list[int]], l2: float, decay: float
) -> None:
    weights = by_columns(logged, l2)
    scores = Ease(l2, decay).fit(make_log(logged, 6)).scores([np.array(each, dtype=np.int64) for each in asked])
    for row, each in zip(scores, asked, strict=True):
        ages = {item: len(each) - 1 - place for place, item in enumerate(each)}
        expected = sum((decay**age * weights[item] for item, age in ages.items()), np.zeros(6))
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)


def test_only_the_most_met_items_get_weights(make_log) -> None:
    logged = [[0, 3, 5], [3, 5], [5, 3, 1], [5]]
    scores = Ease(l2=1.0, decay=1.0, max_items=2).fit(make_log(logged, 6)).scores([np.array([3, 0]), np.array([1])])
    alone = Ease(l2=1.0, decay=1.0).fit(make_log([[each for each in one if each in (3, 5)] for one in logged], 6))
    np.testing.assert_allclose(scores, alone.scores([np.array([3]), np.array([1])]), rtol=1e-5)
    assert np.flatnonzero(scores[0]).tolist() == [5]


def test_two_circles_of_friends_are_told_apart(make_log) -> None:
    """On a checkerboard, users of even items are recommended the even item they lack."""
    logged = [[item for item in range(user % 2, 10, 2) if item != user] for user in range(10)]
    scores = Ease(l2=1.0).fit(make_log(logged, 10)).scores([np.array(each) for each in logged])
    for user, each in enumerate(logged):
        scores[user, each] = -np.inf
    assert scores.argmax(axis=1).tolist() == list(range(10))


@pytest.mark.parametrize("wrong", [{"l2": 0.0}, {"decay": 0.0}, {"decay": 1.1}, {"max_items": 0}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Ease(**wrong)  # type: ignore[arg-type]
