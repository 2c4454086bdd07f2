from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanrec.candidates import Transitions
from flanrec.errors import SettingsError

HISTORIES = st.lists(st.lists(st.integers(0, 4), max_size=7), max_size=5)


def by_loops(logged: list[list[int]], asked: list[int], window: int, damping: float) -> np.ndarray:
    counts = np.zeros((5, 5))
    for each in logged:
        for late in range(len(each)):
            for distance in range(1, min(window, late) + 1):
                counts[each[late - distance], each[late]] += 1 / distance
    scores = np.zeros(5)
    for distance in range(1, min(window, len(asked)) + 1):
        row = counts[asked[-distance]]
        if row.sum():
            scores += row / (row.sum() + damping) / distance
    return scores


@settings(deadline=None)
@given(HISTORIES, HISTORIES, st.integers(1, 9), st.sampled_from([0.0, 1.0, 20.0]))
def test_scores_equal_plain_loops(
    make_log, logged: list[list[int]], asked: list[list[int]], window: int, damping: float
) -> None:
    scores = Transitions(window, damping).fit(make_log(logged, 5)).scores([np.array(e, dtype=np.int64) for e in asked])
    for row, each in zip(scores, asked, strict=True):
        np.testing.assert_allclose(row, by_loops(logged, each, window, damping), rtol=1e-5, atol=1e-7)


def test_the_next_item_of_a_circle_is_found(small_dataset) -> None:
    fitted = Transitions().fit(small_dataset.sequences())
    for item in range(28):
        assert fitted.scores([np.array([(item - 1) % 28, item])])[0].argmax() == (item + 1) % 28


@pytest.mark.parametrize("wrong", [{"window": 0}, {"damping": -1.0}, {"damping": float("nan")}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Transitions(**wrong)  # type: ignore[arg-type]


@settings(deadline=None)
@given(HISTORIES, HISTORIES, st.integers(1, 9))
def test_backward_asks_what_came_before_as_forward_asks_of_reversed_histories(
    make_log, logged: list[list[int]], asked: list[list[int]], window: int
) -> None:
    histories = [np.array(e, dtype=np.int64) for e in asked]
    backward = Transitions(window, 3.0, backward=True).fit(make_log(logged, 5)).scores(histories)
    forward = Transitions(window, 3.0).fit(make_log([each[::-1] for each in logged], 5)).scores(histories)
    np.testing.assert_allclose(backward, forward, rtol=1e-5, atol=1e-7)
