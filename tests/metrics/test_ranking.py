from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.errors import DataError, SettingsError
from flanrec.metrics import ranking
from flanrec.metrics.lists import UserItems
from flanrec.metrics.ranking import top_k

SCORE = st.integers(-2, 2).map(float) | st.sampled_from([math.nan, math.inf, -math.inf, -0.0])


def plain_top_k(scores: list[float], k: int, excluded: set[int]) -> list[int]:
    allowed = [item for item, score in enumerate(scores) if math.isfinite(score) and item not in excluded]
    best = sorted(allowed, key=lambda item: (-scores[item], item))[:k]
    return best + [-1] * (k - len(best))


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[list[float]], list[list[int]], int]:
    users, items = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    scores = draw(st.lists(st.lists(SCORE, min_size=items, max_size=items), min_size=users, max_size=users))
    excluded = draw(st.lists(st.lists(st.integers(0, items - 1), max_size=items), min_size=users, max_size=users))
    return scores, excluded, draw(st.integers(1, 12))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(case=cases())
def test_lists_agree_with_sorting_in_plain_python(
    dtype: type[np.floating], case: tuple[list[list[float]], list[list[int]], int]
) -> None:
    scores, excluded, k = case
    matrix = np.array(scores, dtype=dtype)
    before = matrix.copy()
    lists = top_k(matrix, k, exclude=UserItems.from_lists(excluded))
    expected = [plain_top_k(row, k, set(out)) for row, out in zip(scores, excluded, strict=True)]
    assert lists.items.tolist() == expected
    assert lists.scores.dtype == dtype
    for items, values, row in zip(lists.items, lists.scores, scores, strict=True):
        assert values.tolist() == [row[item] if item >= 0 else -math.inf for item in items]
    np.testing.assert_array_equal(matrix, before)
    mask = np.zeros(matrix.shape, dtype=np.bool_)
    for user, out in enumerate(excluded):
        mask[user, out] = True
    assert top_k(matrix, k, exclude=mask).items.tolist() == expected


@given(case=cases())
def test_a_shorter_list_is_the_beginning_of_a_longer_one(case: tuple[list[list[float]], list[list[int]], int]) -> None:
    scores, _, k = case
    longer = top_k(scores, k + 1).items
    assert (top_k(scores, k).items == longer[:, :k]).all()


def test_all_scores_equal_gives_the_catalogue_order() -> None:
    assert top_k(np.zeros((2, 1000), dtype=np.float32), 5).items.tolist() == [[0, 1, 2, 3, 4]] * 2


def test_large_matrices_ranked_in_pieces_are_ranked_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(4)
    scores = generator.integers(0, 40, (57, 300)).astype(np.float32)
    seen = UserItems.from_lists([generator.choice(300, generator.integers(0, 30), replace=False) for _ in range(57)])
    whole = top_k(scores, 10, exclude=seen)
    monkeypatch.setattr(ranking, "_CHUNK", 1000)
    pieces = top_k(scores, 10, exclude=seen)
    np.testing.assert_array_equal(whole.items, pieces.items)
    expected = np.stack(
        [
            plain_top_k(row.tolist(), 10, set(seen.items[a:b].tolist()))
            for row, a, b in zip(scores, seen.offsets, seen.offsets[1:], strict=False)
        ]
    )
    np.testing.assert_array_equal(whole.items, expected)


def test_one_mask_rules_items_out_for_every_user() -> None:
    lists = top_k([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]], 2, exclude=np.array([True, False, False]))
    assert lists.items.tolist() == [[1, 2], [2, 1]]


def test_an_empty_catalogue_and_no_users_give_empty_lists() -> None:
    assert top_k(np.zeros((2, 0), dtype=np.float32), 3).items.tolist() == [[-1] * 3] * 2
    assert top_k(np.zeros((0, 4), dtype=np.float32), 3).items.shape == (0, 3)


def test_arguments_that_do_not_fit_are_refused() -> None:
    scores = np.zeros((2, 3))
    with pytest.raises(SettingsError, match="k must be at least 1"):
        top_k(scores, 0)
    with pytest.raises(DataError, match="matrix"):
        top_k(np.zeros(3), 1)
    with pytest.raises(DataError, match="1 user rows but 2"):
        top_k(scores, 1, exclude=UserItems.from_lists([[0]]))
    with pytest.raises(DataError, match="excluded item 3 is outside"):
        top_k(scores, 1, exclude=UserItems.from_lists([[0], [3]]))
    with pytest.raises(DataError, match="exclusion mask"):
        top_k(scores, 1, exclude=np.zeros((3, 2), dtype=np.bool_))
