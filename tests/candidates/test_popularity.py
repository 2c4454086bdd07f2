from __future__ import annotations

import numpy as np
import pytest

from flanrec.candidates import Popularity
from flanrec.errors import SettingsError

DAY = 86_400.0


def test_scores_are_the_log_of_shares_with_one_event_added(make_log) -> None:
    scores = Popularity().fit(make_log([[0, 0], [1]], 3)).scores([np.array([2])])
    np.testing.assert_allclose(np.exp(scores[0]), [3 / 6, 2 / 6, 1 / 6], rtol=1e-6)


def test_an_event_counts_half_after_a_half_life(make_log) -> None:
    log = make_log([[0, 1], [1]], 2, [[0.0, 10 * DAY], [5 * DAY]])
    fitted = Popularity(half_life_days=5).fit(log)
    np.testing.assert_allclose(fitted.fading, [0.25, 1.5])


def test_events_without_a_time_count_whole(make_log) -> None:
    log = make_log([[0, 1]], 2, [[np.nan, 10 * DAY]])
    fitted = Popularity(half_life_days=1).fit(log)
    np.testing.assert_allclose(fitted.whole + fitted.fading, [1, 1])


def test_late_news_of_old_events_does_not_turn_back_time(make_log) -> None:
    fitted = Popularity(half_life_days=1).fit(make_log([[0]], 2, [[2 * DAY]])).update(make_log([[1]], 2, [[0.0]]))
    np.testing.assert_allclose(fitted.fading, [1, 0.25])


@pytest.mark.parametrize("days", [0, -1, float("nan"), float("inf")])
def test_a_half_life_must_be_positive(days: float) -> None:
    with pytest.raises(SettingsError, match="half_life_days"):
        Popularity(half_life_days=days)
