"""The pool of candidates: who is in it, and how they rank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.errors import DataError
from flanrec.ranking.pool import Pool, best_of_each


def scores_of(seed: int, n_users: int = 4, n_items: int = 9) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(n_users, n_items)).astype(np.float32) for name in ("a", "b")}


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_candidates_are_the_best_open_items_of_each_source(seed: int, depth: int) -> None:
    scores = scores_of(seed)
    closed = np.random.default_rng(seed + 1).random((4, 9)) < 0.4
    users, items, ranks = best_of_each(scores, closed, depth)
    for user in range(4):
        open_ = [item for item in range(9) if not closed[user, item]]
        best = {name: sorted(open_, key=lambda item: -found[user, item])[:depth] for name, found in scores.items()}
        assert items[users == user].tolist() == sorted({item for listed in best.values() for item in listed})
        for name, listed in best.items():
            for item, rank in zip(items[users == user], ranks[name][users == user], strict=True):
                place = listed.index(item) if item in listed else min(depth, 9)
                assert rank == pytest.approx(np.log1p(place))


def test_further_scores_name_candidates_without_a_rank() -> None:
    scores = {"a": np.array([[3.0, 2.0, 1.0, 0.0]], dtype=np.float32)}
    also = np.array([[0.0, 0.0, 0.0, 1.0]], dtype=np.float32)
    closed = np.zeros((1, 4), dtype=bool)
    _, items, ranks = best_of_each(scores, closed, 1, also=[also])
    assert items.tolist() == [0, 3]
    assert list(ranks) == ["a"]
    assert best_of_each(scores, closed, 1, everything=True)[1].tolist() == [0, 1, 2, 3]


def test_a_pool_parts_with_users() -> None:
    features = np.arange(12, dtype=np.float32).reshape(4, 3)
    pool = Pool(np.array([0, 0, 2, 2]), np.array([1, 5, 1, 3]), features, ("a.score", "ab.score", "a.rank"), 3)
    assert pool.sizes.tolist() == [2, 0, 2]
    assert pool.of(np.array([False, True, True])).items.tolist() == [1, 3]
    assert pool.is_answer(np.array([5, 1, -1])).tolist() == [False, True, False, False]
    with pytest.raises(DataError, match="names"):
        Pool(np.array([0]), np.array([0]), features, ("a",), 1)


def test_everything_takes_closed_items_with_the_last_rank() -> None:
    scores = {"a": np.array([[3.0, 2.0, 1.0]], dtype=np.float32)}
    closed = np.array([[True, False, False]])
    _, items, ranks = best_of_each(scores, closed, 2, everything=True)
    assert items.tolist() == [0, 1, 2]
    np.testing.assert_allclose(ranks["a"], np.log1p([2, 0, 1]), rtol=1e-6)


def test_lists_are_the_best_candidates_ties_by_catalogue() -> None:
    pool = Pool(np.array([0, 0, 0, 2]), np.array([4, 5, 7, 1]), np.zeros((4, 0), np.float32), (), 3)
    items, scores = pool.best(np.array([1.0, 2.0, 2.0, 0.5], dtype=np.float32), 2)
    assert items.tolist() == [[5, 7], [-1, -1], [1, -1]]
    assert scores[0].tolist() == [2.0, 2.0]
    assert scores[1].tolist() == [-np.inf, -np.inf]


def test_joined_pools_are_those_of_all_their_users() -> None:
    first = Pool(np.array([0, 2]), np.array([5, 6]), np.array([[1.0], [2.0]], np.float32), ("a",), 3)
    second = Pool(np.array([0, 1]), np.array([7, 8]), np.array([[3.0], [4.0]], np.float32), ("a",), 2)
    both = Pool.joined([first, second])
    assert both.users.tolist() == [0, 2, 3, 4]
    assert both.items.tolist() == [5, 6, 7, 8]
    assert both.column("a").tolist() == [1.0, 2.0, 3.0, 4.0]
    assert both.n_users == 5


def test_a_left_out_source_takes_its_features_and_its_own_candidates_along() -> None:
    end = np.log1p(2)
    # Of user 0 item 5 is named by a alone, item 6 by b alone, item 7 by both; user 1 has what only a names.
    features = np.array([[9, 0, 1, end], [8, end, 2, 0], [7, 0.5, 3, 0.5], [6, 0, 4, end]], dtype=np.float32)
    names = ("a.score", "a.rank", "b.score", "b.rank")
    pool = Pool(np.array([0, 0, 0, 1]), np.array([5, 6, 7, 5]), features, names, 2)
    left = pool.without({"a"}, depth=2)
    assert left.names == ("b.score", "b.rank")
    assert (left.users.tolist(), left.items.tolist(), left.n_users) == ([0, 0], [6, 7], 2)
    assert left.column("b.score").tolist() == [2, 3]
    assert pool.without({"b"}, depth=2).items.tolist() == [5, 7, 5]
    assert pool.without((), depth=2) is pool
