from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.errors import DataError
from flanrec.generation.postprocess import only_allowed, postprocess, ranked, without_duplicates

rows = st.lists(st.tuples(st.integers(-1, 8), st.sampled_from([0.0, 1.0, 2.5, -np.inf, np.nan])), max_size=10)
sets = st.sets(st.integers(-1, 8))


@given(rows, rows, sets, sets, st.none() | sets, st.none() | sets, st.integers(1, 12))
def test_the_result_is_that_of_a_plain_loop(first, second, seen, seen_too, whitelist, blacklist, k) -> None:
    width = max(len(first), len(second))
    padded = [row + [(-1, 0.0)] * (width - len(row)) for row in (first, second)]
    items = np.array([[item for item, _ in row] for row in padded], dtype=np.int64).reshape(2, width)
    scores = np.array([[score for _, score in row] for row in padded], dtype=np.float32).reshape(2, width)
    got, got_scores = postprocess(items, scores, k, seen=[seen, seen_too], whitelist=whitelist, blacklist=blacklist)
    for user, (row, barred) in enumerate(zip((first, second), (seen, seen_too), strict=True)):
        best: dict[int, float] = {}
        for item, score in row:
            allowed = item >= 0 and item not in barred and (whitelist is None or item in whitelist)
            if allowed and item not in (blacklist or ()) and np.isfinite(score):
                best[item] = max(best.get(item, -np.inf), score)
        expected = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))[:k]
        expected += [(-1, -np.inf)] * (k - len(expected))
        assert list(zip(got[user].tolist(), got_scores[user].tolist(), strict=True)) == expected


def test_equal_scores_rank_in_catalogue_order() -> None:
    items, scores = ranked(np.array([[9, 3, 5]]), np.array([[1.0, 1.0, 2.0]]), 4)
    assert items.tolist() == [[5, 3, 9, -1]]
    assert scores.tolist() == [[2.0, 1.0, 1.0, -np.inf]]


def test_each_user_has_a_whitelist_of_their_own() -> None:
    items, _ = only_allowed(np.array([[1, 2], [1, 2]]), np.zeros((2, 2)), [[1], [2, 77]])
    assert items.tolist() == [[1, -1], [-1, 2]]


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="one shape"):
        without_duplicates(np.zeros((1, 2), dtype=np.int64), np.zeros((2, 2)))
    with pytest.raises(DataError, match="2 users but item sets for 1"):
        postprocess(np.zeros((2, 1), dtype=np.int64), np.zeros((2, 1)), 1, seen=[[]])
