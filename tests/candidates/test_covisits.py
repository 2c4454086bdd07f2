from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanrec.candidates import Covisits
from flanrec.data import Sequences
from flanrec.errors import SettingsError

EVENTS = st.lists(st.lists(st.tuples(st.integers(0, 4), st.one_of(st.just(np.nan), st.floats(0, 5000))), max_size=6),
                  max_size=4)  # fmt: skip


def log_of(histories: list[list[tuple[int, float]]]) -> Sequences:
    flat = [event for each in histories for event in each]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in histories])]).astype(np.int64)
    items = np.array([item for item, _ in flat], dtype=np.int64)
    times = np.array([time for _, time in flat], dtype=np.float64)
    return Sequences(list(range(len(histories))), list(range(5)), offsets, items, np.full(len(flat), np.nan), times)


@settings(deadline=None)
@given(EVENTS, st.lists(st.integers(0, 4), max_size=5), st.integers(1, 6), st.integers(1, 4))
def test_scores_equal_plain_loops(
    logged: list[list[tuple[int, float]]], asked: list[int], window: int, newest: int
) -> None:
    counts = np.zeros((5, 5))
    for each in logged:
        for late in range(len(each)):
            for early in range(max(0, late - window), late):
                gap = abs(each[late][1] - each[early][1])
                value = np.exp(-(0 if np.isnan(gap) else gap) / 600) / np.sqrt(late - early)
                counts[each[early][0], each[late][0]] += value
                counts[each[late][0], each[early][0]] += value
    expected = np.zeros(5)
    for place, item in enumerate(reversed(asked[-newest:]), start=1):
        expected += counts[item] / (counts[item].sum() + 2.0) / place
    fitted = Covisits(window, 600.0, 2.0, newest).fit(log_of(logged))
    found = fitted.scores([np.array(asked, dtype=np.int64)])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_one_sitting_counts_and_another_day_does_not() -> None:
    day = 86_400.0
    log = log_of([[(0, 0.0), (1, 60.0), (2, day)], [(0, 0.0), (1, 30.0), (2, 2 * day)]])
    scores = Covisits().fit(log).scores([np.array([0])])[0]
    assert scores[1] > 1000 * scores[2]
    assert scores[1] == pytest.approx(Covisits().fit(log).scores([np.array([1])])[0, 0], rel=0.05), "both ways"


@pytest.mark.parametrize("wrong", [{"window": 0}, {"newest": 0}, {"span_seconds": 0.0}, {"damping": float("nan")}])
def test_settings_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Covisits(**wrong)  # type: ignore[arg-type]
