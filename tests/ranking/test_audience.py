"""Attributes of users speak for the items of users like them."""

from __future__ import annotations

import numpy as np

from flanrec.data import Sequences
from flanrec.ranking.audience import Audience


def log_of(histories: list[list[int]], n_items: int) -> Sequences:
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in histories])]).astype(np.int64)
    items = np.array([item for each in histories for item in each], dtype=np.int64)
    nothing = np.full(len(items), np.nan)
    return Sequences(list(range(len(histories))), list(range(n_items)), offsets, items, nothing, nothing)


def test_evidence_is_the_log_ratio_of_damped_shares() -> None:
    told = [{"job": "writer"}] * 5 + [{"job": "doctor"}] * 15
    audience = Audience.fit(log_of([[0, 0]] * 4 + [[1]] + [[1]] * 15, 3), told)
    found = audience.scores([{"job": "writer"}, {}])
    share = 0.25
    np.testing.assert_allclose(
        found[0], np.log([(4 + 10 * share) / 14 / share, (1 + 10 * share) / 26 / share, 1]), 1e-5
    )
    assert not found[1].any(), "nothing is known of a user without attributes"


def test_numbers_are_put_into_bins_and_bins_speak() -> None:
    told = [{"age": str(age)} for age in range(20, 80)]
    audience = Audience.fit(log_of([[int(age >= 50)] for age in range(20, 80)], 2), told)
    young, old, unread = audience.scores([{"age": "21"}, {"age": "95.5"}, {"age": "unknown"}])
    assert young[0] > 0.5 > 0 > young[1]
    assert old[1] > 0.5 > 0 > old[0]
    assert not unread.any()


def test_what_tells_users_apart_or_is_rare_is_left_out() -> None:
    told = [{"zip": f"z{user}", "job": "writer" if user < 3 else "doctor"} for user in range(60)]
    audience = Audience.fit(log_of([[0]] * 60, 1), told)
    assert list(audience.column) == [("job", "doctor")]


def test_a_log_without_attributes_says_nothing() -> None:
    assert Audience.fit(log_of([[0], [1]], 2), [{}, {}]).scores([{"job": "writer"}]).tolist() == [[0.0, 0.0]]
