from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.catalogue.closed import ClosedRows
from flanrec.catalogue.trie import TitleTrie

token_rows = st.lists(st.lists(st.integers(2, 5), min_size=0, max_size=5).map(lambda row: [*row, 1]), max_size=30)


@given(token_rows, st.lists(st.sets(st.integers(-1, 35)), min_size=1, max_size=3))
def test_a_range_is_closed_exactly_when_each_of_its_items_is_excluded(
    rows: list[list[int]], excluded: list[set[int]]
) -> None:
    trie = TitleTrie.build(rows)
    closed = ClosedRows(trie, excluded)
    for user, barred in enumerate(excluded):
        for low in range(len(trie)):
            for high in range(low + 1, len(trie) + 1):
                items = trie.items_of(np.arange(low, high))[1]
                got = closed.all_closed(np.array([user]), np.array([low]), np.array([high]))
                assert got.tolist() == [set(items.tolist()) <= barred]
        everything = np.arange(len(rows))
        got = closed.excluded(np.full(len(rows), user), everything)
        assert got.tolist() == [item in barred for item in everything.tolist()]


@given(
    token_rows.filter(bool),
    st.lists(st.sets(st.integers(-1, 35)), min_size=1, max_size=3),
    st.lists(st.integers(1, 9), min_size=30, max_size=30),
)
def test_priors_and_shares_count_only_open_items(
    rows: list[list[int]], excluded: list[set[int]], weights: list[int]
) -> None:
    trie = TitleTrie.build(rows, weights=np.array(weights, dtype=float)[: len(rows)])
    closed = ClosedRows(trie, excluded)
    children = trie.children([0], [len(trie)], 0)
    for user, barred in enumerate(excluded):
        users = np.full(len(children.token), user)
        open_items = set(range(len(rows))) - barred
        for low, high, prior in zip(children.low, children.high, closed.log_priors(users, children), strict=True):
            below = set(trie.items_of(np.arange(low, high))[1].tolist()) & open_items
            assert np.exp(prior) == pytest.approx(sum(weights[item] for item in below))
        items = np.array(sorted(open_items), dtype=np.int64)
        shares = np.exp(closed.log_shares(np.full(len(items), user), items))
        for item, share in zip(items.tolist(), shares.tolist(), strict=True):
            alike = [other for other in open_items if rows[other] == rows[item]]
            assert share == pytest.approx(weights[item] / sum(weights[other] for other in alike))


def test_without_weights_open_branches_are_equal() -> None:
    trie = TitleTrie.build([[2, 1], [3, 1], [3, 4, 1]])
    closed = ClosedRows(trie, [{0}])
    children = trie.children([0], [3], 0)
    assert closed.log_priors(np.zeros(2, dtype=np.int64), children).tolist() == [-np.inf, 0.0]
    assert closed.log_shares(np.zeros(2, dtype=np.int64), np.array([1, 2])).tolist() == [0.0, 0.0]
