from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.errors import DataError
from flanrec.metrics.lists import UserItems, check_lists, check_ranked, distinct_counts, found_in, repeated

LISTS = st.lists(st.lists(st.integers(0, 6), max_size=5), min_size=1, max_size=6)


@given(rows=LISTS)
def test_compressed_rows_hold_every_list_in_order(rows: list[list[int]]) -> None:
    lists = UserItems.from_lists(rows)
    assert [lists.items[a:b].tolist() for a, b in zip(lists.offsets, lists.offsets[1:], strict=False)] == rows
    assert distinct_counts(lists).tolist() == [len(set(row)) for row in rows]


@given(rows=LISTS, data=st.data())
def test_found_in_and_repeated_agree_with_plain_python(rows: list[list[int]], data: st.DataObject) -> None:
    shape = st.lists(st.integers(-1, 8), min_size=4, max_size=4)
    ranked = data.draw(st.lists(shape, min_size=len(rows), max_size=len(rows)))
    found = found_in(np.array(ranked), UserItems.from_lists(rows)).tolist()
    assert found == [[item in row for item in line] for line, row in zip(ranked, rows, strict=True)]
    again = repeated(np.array(ranked)).tolist()
    assert again == [[item >= 0 and item in line[:slot] for slot, item in enumerate(line)] for line in ranked]


def test_an_empty_slot_is_not_taken_for_the_last_item_of_the_user_before() -> None:
    assert not found_in(np.array([[3], [-1]]), UserItems.from_lists([[], [3]])).any()
    assert not found_in(np.array([[-1], [-1]]), UserItems.from_lists([[3], [0]])).any()


@pytest.mark.parametrize(
    ("ranked", "said"),
    [
        (np.array([1, 2]), "two-dimensional"),
        (np.array([[1.0, 2.0]]), "integer"),
        (np.array([[1, 2], [3, -2]]), "user row 1 has -2 at rank 2"),
        (np.array([[1, 9]]), "item 9 at rank 2, but the catalogue has 5 items"),
    ],
)
def test_lists_that_cannot_be_right_are_refused_with_the_place(ranked: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=said):
        check_ranked(ranked, n_items=5)


def test_rows_of_other_users_or_broken_offsets_are_refused() -> None:
    with pytest.raises(DataError, match="2 user rows but 3 were expected"):
        check_lists(UserItems.from_lists([[1], [2]]), 3, "relevant items")
    with pytest.raises(DataError, match="do not rise"):
        check_lists(UserItems(np.array([0, 2, 1]), np.array([5])), 2, "relevant items")
    with pytest.raises(DataError, match="negative item index -1"):
        check_lists(UserItems.from_lists([[-1]]), 1, "relevant items")
