"""Head, middle and tail, and users with few events, by hand."""

from __future__ import annotations

import numpy as np

from flanrec.evaluation.segments import DEFINITIONS, popularity_thirds, segments_of
from flanrec.metrics import UserItems


def test_items_are_of_the_head_while_the_items_before_them_hold_less_than_half() -> None:
    # 100 events: 40 | 20 more reach 60 | 15 reach 75 | 10 reach 85 | 10, 5 and 0 are left.
    counts = np.array([10, 40, 5, 20, 0, 15, 10])
    assert popularity_thirds(counts).tolist() == [1, 0, 2, 0, 2, 1, 2]


def test_an_item_that_begins_right_at_the_border_is_of_the_next_part() -> None:
    assert popularity_thirds(np.array([5, 3, 2])).tolist() == [0, 1, 2]


def test_items_without_events_are_of_the_tail_even_where_there_are_no_events() -> None:
    assert popularity_thirds(np.zeros(3, dtype=np.int64)).tolist() == [2, 2, 2]


def test_users_stand_where_their_first_held_out_item_does() -> None:
    counts = np.array([5, 3, 2])
    found = segments_of(counts, UserItems.from_lists([[0], [1, 0], [2], [0]]), [29, 30, 2, 400])
    assert list(found) == list(DEFINITIONS)
    assert [users.tolist() for users in found.values()] == [
        [True, False, False, True],
        [False, True, False, False],
        [False, False, True, False],
        [True, False, True, False],
        [False, True, False, True],
    ]
