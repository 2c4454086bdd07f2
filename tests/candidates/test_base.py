from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.candidates.base import flatten, named_array, once
from flanrec.errors import CheckpointError, DataError

HISTORIES = st.lists(st.lists(st.integers(0, 6), max_size=8), max_size=5)


def arrays_of(histories: list[list[int]]) -> list[np.ndarray]:
    return [np.array(each, dtype=np.int64) for each in histories]


@given(HISTORIES)
def test_flat_histories_keep_user_item_and_age_of_every_event(histories: list[list[int]]) -> None:
    flat = flatten(arrays_of(histories), 7)
    expected = [
        (user, item, len(each) - 1 - place) for user, each in enumerate(histories) for place, item in enumerate(each)
    ]
    assert list(zip(*(part.tolist() for part in flat), strict=True)) == expected


@given(HISTORIES)
def test_once_keeps_the_newest_event_of_each_item(histories: list[list[int]]) -> None:
    flat = once(flatten(arrays_of(histories), 7), 7)
    expected = [
        (user, item, each[::-1].index(item)) for user, each in enumerate(histories) for item in sorted(set(each))
    ]
    assert list(zip(*(part.tolist() for part in flat), strict=True)) == expected


def test_an_item_of_an_empty_catalogue_is_refused() -> None:
    with pytest.raises(DataError, match="catalogue of 0 items"):
        flatten([np.array([0])], 0)


@pytest.mark.parametrize(("arrays", "problem"), [({}, "is missing"), ({"kept": np.zeros((2, 3))}, r"shape \(2, 3\)")])
def test_an_array_that_does_not_fit_is_named(arrays: dict[str, np.ndarray], problem: str) -> None:
    with pytest.raises(CheckpointError, match=f"'kept'.*{problem}"):
        named_array(arrays, "kept", 1)
