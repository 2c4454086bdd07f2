from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.errors import DataError
from flanrec.metrics import beyond
from flanrec.metrics.lists import UserItems

RANKED = st.lists(st.lists(st.integers(-1, 7), min_size=3, max_size=3), min_size=1, max_size=8)


def test_coverage_counts_each_recommended_item_once() -> None:
    assert beyond.coverage(np.array([[0, 1, 1], [1, 2, -1]]), n_items=10) == 0.3


def test_coverage_of_an_empty_catalogue_is_undefined() -> None:
    assert math.isnan(beyond.coverage(np.zeros((2, 0), dtype=np.int64), n_items=0))


def test_gini_of_counts_worked_out_by_hand() -> None:
    # Counts 0, 1, 3: (2 * (1*0 + 2*1 + 3*3)) / (3 * 4) - (3 + 1) / 3 = 22/12 - 4/3 = 0.5.
    assert beyond.gini(np.array([[2, 2], [2, 1]]), n_items=3) == pytest.approx(0.5)
    assert math.isnan(beyond.gini(np.array([[-1, -1]]), n_items=3))


@given(rows=RANKED)
def test_gini_agrees_with_the_mean_absolute_difference(rows: list[list[int]]) -> None:
    counts = np.array([sum(row.count(item) for row in rows) for item in range(8)])
    value = beyond.gini(np.array(rows), n_items=8)
    if counts.sum() == 0:
        assert math.isnan(value)
    else:
        expected = np.abs(counts[:, None] - counts[None, :]).sum() / (2 * 8 * counts.sum())
        assert value == pytest.approx(expected, abs=1e-12)


def test_novelty_in_bits_worked_out_by_hand() -> None:
    # With one added to each, 4 + 3 + 1 = 8: p = 1/2, 3/8, 1/8.
    popularity = np.array([3, 2, 0])
    values = beyond.novelty(np.array([[0, 2], [1, -1], [-1, -1]]), popularity)
    assert values[:2] == pytest.approx([(1 + 3) / 2, -math.log2(3 / 8)])
    assert math.isnan(values[2])


def test_popularity_bias_leaves_out_users_without_a_list_or_a_history() -> None:
    popularity = np.array([8, 4, 2])
    ranked = np.array([[0, 1], [2, -1], [0, 0], [-1, -1]])
    history = UserItems.from_lists([[1, 2], [1], [], [0]])
    # Lists: (8 + 4) / 2 = 6 and 2; histories: (4 + 2) / 2 = 3 and 4. Users 2 and 3 do not count.
    assert beyond.popularity_bias(ranked, history, popularity) == pytest.approx((6 + 2) / (3 + 4))


def test_lists_that_repeat_the_histories_have_no_popularity_bias() -> None:
    rows = [[0, 3], [2, 1]]
    assert beyond.popularity_bias(np.array(rows), UserItems.from_lists(rows), np.array([5, 1, 7, 9])) == 1.0


def test_raw_generation_is_judged_slot_by_slot() -> None:
    generated = np.array([[4, -1, 4, 2], [-1, -1, -1, -1]])
    assert beyond.valid_rate(generated, n_items=5).tolist() == [0.75, 0.0]
    duplicates = beyond.duplicate_rate(generated)
    assert duplicates[0] == pytest.approx(1 / 3)
    assert math.isnan(duplicates[1])


@given(rows=RANKED)
def test_duplicate_rate_is_what_making_the_list_distinct_would_drop(rows: list[list[int]]) -> None:
    for value, row in zip(beyond.duplicate_rate(np.array(rows)), rows, strict=True):
        filled = [item for item in row if item >= 0]
        expected = (len(filled) - len(set(filled))) / len(filled) if filled else math.nan
        assert value == pytest.approx(expected, nan_ok=True)


def test_category_share_is_of_the_filled_slots() -> None:
    members = np.array([True, False, True])
    values = beyond.category_share(np.array([[0, 1, 2], [2, -1, -1], [-1, -1, -1]]), members)
    assert values[:2] == pytest.approx([2 / 3, 1.0])
    assert math.isnan(values[2])


def test_arguments_for_another_catalogue_are_refused() -> None:
    ranked = np.array([[0, 5]])
    with pytest.raises(DataError, match="item 5 at rank 2"):
        beyond.coverage(ranked, n_items=5)
    with pytest.raises(DataError, match="item 5 at rank 2"):
        beyond.novelty(ranked, np.ones(5))
    with pytest.raises(DataError, match="bool"):
        beyond.category_share(ranked, np.ones(6, dtype=np.int64))
    with pytest.raises(DataError, match="non-negative finite"):
        beyond.novelty(ranked, np.array([1.0, -1.0, 0, 0, 0, 0]))
    with pytest.raises(DataError, match="histories name item 9"):
        beyond.popularity_bias(ranked, UserItems.from_lists([[9]]), np.ones(6))
