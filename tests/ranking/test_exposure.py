from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanrec.errors import DataError, SettingsError
from flanrec.metrics.lists import EMPTY
from flanrec.ranking.exposure import (
    Quotas,
    freshness,
    head_items,
    long_tail,
    long_tail_least,
    shortfalls,
    within_quotas,
)

SEEDS = st.integers(0, 2**32 - 1)


def quotas_of(seed: int, items: int, k: int, overlap: bool) -> Quotas:
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 4, items)
    members = rng.random((3, items)) < 0.45 if overlap else kinds == np.arange(3)[:, None]
    least = rng.integers(0, k, 3)
    most = least + rng.integers(0, k, 3)
    return Quotas(("a", "b", "c"), members, least, most)


def best_by_trying_all(scores, candidates, quotas: Quotas, k: int) -> tuple[int, int]:
    """Fewest missing below a least, then most items, of all sets that exceed no most."""
    found = []
    for size in range(k + 1):
        for some in itertools.combinations(range(len(candidates)), size):
            counts = quotas.members[:, candidates[list(some)]].sum(axis=1)
            if np.all(counts <= quotas.most):
                found.append((-int(np.maximum(quotas.least - counts, 0).sum()), size))
    return max(found)


@pytest.mark.parametrize("overlap", [False, True])
@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, k=st.integers(1, 5))
def test_quotas_are_met_as_nearly_as_any_set_of_candidates_can(overlap: bool, seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    quotas = quotas_of(seed, 10, k, overlap)
    candidates, scores = np.array([rng.permutation(10)[:8] for _ in range(2)]), rng.normal(size=(2, 8))
    listed = within_quotas(scores, candidates, quotas, k)
    off = shortfalls(listed, quotas)
    assert np.all(off <= 0), "a most was exceeded"
    for user in range(2):
        filled = listed[user][listed[user] != EMPTY].tolist()
        assert len(filled) == len(set(filled))
        assert set(filled) <= set(candidates[user].tolist())
        assert (int(off[user].sum()), len(filled)) == best_by_trying_all(scores[user], candidates[user], quotas, k)


@settings(deadline=None)
@given(seed=SEEDS, k=st.integers(1, 5))
def test_without_overlap_no_set_that_keeps_the_quotas_is_more_relevant(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    quotas = quotas_of(seed, 9, k, overlap=False)
    scores, candidates = rng.random((1, 8)), rng.permutation(9)[None, :8]
    listed = within_quotas(scores, candidates, quotas, k)[0]
    worth = dict(zip(candidates[0].tolist(), scores[0], strict=True))
    key = best_by_trying_all(scores[0], candidates[0], quotas, k)
    for some in itertools.combinations(candidates[0].tolist(), key[1]):
        counts = quotas.members[:, list(some)].sum(axis=1)
        if np.all(counts <= quotas.most) and -int(np.maximum(quotas.least - counts, 0).sum()) == key[0]:
            assert sum(worth[one] for one in some) <= sum(worth[one] for one in listed[listed != EMPTY]) + 1e-9


@given(seed=SEEDS, k=st.integers(1, 9))
def test_lists_stay_in_the_order_of_scores_and_unlimited_quotas_change_nothing(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    scores = -np.sort(-rng.random((2, 8)), axis=1)
    candidates = np.array([rng.permutation(10)[:8] for _ in range(2)])
    free = Quotas(("a",), rng.random((1, 10)) < 0.5, np.array([0]), np.array([k]))
    expected = np.full((2, k), EMPTY)
    expected[:, : min(k, 8)] = candidates[:, :k]
    assert within_quotas(scores, candidates, free, k).tolist() == expected.tolist()
    listed = within_quotas(scores, candidates, quotas_of(seed, 10, k, overlap=False), k)
    for user in range(2):
        places = [candidates[user].tolist().index(one) for one in listed[user][listed[user] != EMPTY]]
        assert places == sorted(places)


def test_greedy_s_corner_is_left_by_the_exact_solution() -> None:
    # The best item is in both groups and fills the most of a, whose other member alone could serve c.
    members = np.array([[True, False, True], [True, True, False], [False, False, True]])
    quotas = Quotas(("a", "b", "c"), members, np.array([0, 1, 1]), np.array([1, 2, 2]))
    listed = within_quotas(np.array([[0.9, 0.5, 0.1]]), np.array([[0, 1, 2]]), quotas, 2)
    assert listed.tolist() == [[1, 2]]


@given(seed=SEEDS, share=st.floats(0, 1), k=st.integers(1, 8))
def test_the_tail_has_its_share_where_candidates_allow(seed: int, share: float, k: int) -> None:
    rng = np.random.default_rng(seed)
    tail = rng.random(12) < 0.5
    candidates = np.array([rng.permutation(12)[:8] for _ in range(3)])
    listed = long_tail(rng.random((3, 8)), candidates, tail, k, share)
    there = tail[candidates].sum(axis=1)
    assert np.all((listed != EMPTY).all(axis=1))
    assert np.all(tail[listed].sum(axis=1) >= np.minimum(np.ceil(share * k - 1e-9), there))


def test_the_share_of_a_list_is_rounded_up() -> None:
    assert [long_tail_least(share, 10) for share in (0, 0.01, 0.3, 0.31, 1)] == [0, 1, 3, 4, 10]


@given(st.lists(st.integers(0, 20), max_size=12), st.floats(0.05, 1))
def test_the_head_is_the_smallest_set_with_its_share(counts: list[int], share: float) -> None:
    popularity = np.array(counts, dtype=np.int64)
    head = head_items(popularity, share)
    total = popularity.sum()
    assert popularity[head].sum() >= share * total * (1 - 1e-9)
    if head.any():
        smaller = np.sort(popularity)[::-1][: head.sum() - 1].sum()
        assert smaller < share * total
    else:
        assert total == 0


def test_freshness_halves_and_does_not_reward_the_unknown_or_the_future() -> None:
    assert freshness(np.array([0, 10, 20, np.nan, -5]), 10).tolist() == [1, 0.5, 0.25, 0, 1]


def test_shortfalls_are_below_the_least_or_above_the_most() -> None:
    quotas = Quotas(
        ("a", "b"), np.array([[True, True, False], [False, False, True]]), np.array([0, 2]), np.array([1, 3])
    )
    assert shortfalls(np.array([[0, 1], [2, -1]]), quotas).tolist() == [[1, -2], [0, -1]]


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(SettingsError, match="least 3 and most 2"):
        Quotas(("a",), np.ones((1, 2), dtype=bool), np.array([3]), np.array([2]))
    with pytest.raises(DataError, match="1 groups need as many rows"):
        Quotas(("a",), np.ones((2, 2), dtype=bool), np.array([0]), np.array([2]))
    with pytest.raises(SettingsError, match="half_life_days"):
        freshness(np.zeros(1), 0)
    with pytest.raises(SettingsError, match="share"):
        long_tail_least(1.2, 10)
    with pytest.raises(SettingsError, match="share"):
        head_items(np.ones(2), -1)
