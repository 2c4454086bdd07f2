from __future__ import annotations

import numpy as np
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
