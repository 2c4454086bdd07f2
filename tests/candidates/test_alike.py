from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanrec.candidates import UserNeighbours
from flanrec.errors import SettingsError

HISTORIES = st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=6)


def by_loops(logged: list[list[int]], asked: list[int], neighbours: int, newest: int) -> np.ndarray:
    met = [set(each) for each in logged]
    users = [sum(item in each for each in met) for item in range(6)]
    ages = {item: asked[::-1].index(item) for item in asked}
    likeness = []
    for each in met:
        shared = [item for item in each & set(asked) if ages[item] < newest]
        value = sum(0.8 ** ages[item] / np.sqrt(users[item] + 1) for item in shared) / np.sqrt(len(each) + 3.0)
        likeness.append(value if each - set(asked) else 0.0)
    order = sorted((value for value in likeness if value > 0), reverse=True)
    least = order[min(neighbours, len(order)) - 1] if order else 0.0
    heard = [value**2 if value and value >= least * (1 - 1e-6) else 0.0 for value in likeness]
    scores = np.array([sum(w for w, each in zip(heard, met, strict=True) if item in each) for item in range(6)])
    return scores / sum(heard) if sum(heard) else scores


@settings(deadline=None, max_examples=200)
@given(HISTORIES, st.lists(st.integers(0, 5), max_size=6), st.integers(1, 3), st.integers(1, 4))
def test_scores_equal_plain_loops(
    make_log, logged: list[list[int]], asked: list[int], neighbours: int, newest: int
) -> None:
    fitted = UserNeighbours(neighbours, newest, 0.8, 3.0).fit(make_log(logged, 6))
    found = fitted.scores([np.array(asked, dtype=np.int64)])[0]
    np.testing.assert_allclose(found, by_loops(logged, asked, neighbours, newest), rtol=1e-4, atol=1e-6)


def test_a_user_of_the_log_is_not_his_own_neighbour(make_log) -> None:
    fitted = UserNeighbours().fit(make_log([[0, 1, 2], [0, 1, 2, 3], [4, 5]], 6))
    np.testing.assert_allclose(fitted.scores([np.array([0, 1, 2])])[0], [1, 1, 1, 1, 0, 0])


def test_many_who_tell_nothing_do_not_crowd_out_one_who_does(make_log) -> None:
    logged = [[0, 1]] * 500 + [[0, 1, 2, 3, 4]]
    scores = UserNeighbours(neighbours=5).fit(make_log(logged, 6)).scores([np.array([0, 1])])[0]
    np.testing.assert_allclose(scores[2:5], 1)


@pytest.mark.parametrize("wrong", [{"neighbours": 0}, {"newest": 0}, {"decay": 0.0}, {"damping": -1.0}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        UserNeighbours(**wrong)  # type: ignore[arg-type]
