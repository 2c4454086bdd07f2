from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.catalogue.trie import TitleTrie
from flanrec.errors import CheckpointError, DataError

EOS = 1
token_rows = st.lists(st.lists(st.integers(2, 5), min_size=0, max_size=5).map(lambda row: [*row, EOS]), max_size=30)


def walk(trie: TitleTrie) -> list[tuple[list[int], int]]:
    """Every (token row, trie row) that is reached by following children from the root."""
    ends = []
    open_nodes = [([], 0, len(trie))] if len(trie) else []
    depth = 0
    while open_nodes:
        children = trie.children([low for _, low, _ in open_nodes], [high for _, _, high in open_nodes], depth)
        following = []
        for parent, token, low, high in zip(*(part.tolist() for part in children), strict=True):
            path = [*open_nodes[parent][0], token]
            if token == EOS:
                assert high == low + 1
                ends.append((path, low))
            else:
                following.append((path, low, high))
        open_nodes, depth = following, depth + 1
    return ends


@given(token_rows)
def test_following_children_reaches_each_title_once_and_its_items(rows: list[list[int]]) -> None:
    trie = TitleTrie.build(rows)
    reached = {tuple(path): sorted(trie.items_of(np.array([row]))[1].tolist()) for path, row in walk(trie)}
    expected: dict[tuple[int, ...], list[int]] = {}
    for item, row in enumerate(rows):
        expected.setdefault(tuple(row), []).append(item)
    assert reached == expected
    assert len(trie) == len(expected)


@given(token_rows, st.integers(1, 6))
def test_nodes_scanned_alone_and_together_have_the_same_children(rows: list[list[int]], scanned: int) -> None:
    trie = TitleTrie.build(rows)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("flanrec.catalogue.trie._SCANNED", scanned)
        assert walk(trie) == walk(TitleTrie.build(rows))
        mixed = walk(trie)
    assert mixed == walk(trie)


@given(token_rows)
def test_nodes_asked_for_twice_and_out_of_order_answer_in_the_order_asked(rows: list[list[int]]) -> None:
    trie = TitleTrie.build([*rows, [2, EOS], [3, EOS]])
    root = trie.children([0], [len(trie)], 0)
    inner = np.flatnonzero(root.token != EOS)
    asked = np.concatenate([inner[::-1], inner])
    children = trie.children(root.low[asked], root.high[asked], 1)
    for place, node in enumerate(asked):
        alone = trie.children(root.low[node : node + 1], root.high[node : node + 1], 1)
        mine = children.parent == place
        assert children.token[mine].tolist() == alone.token.tolist()
        assert children.low[mine].tolist() == alone.low.tolist()
        assert children.high[mine].tolist() == alone.high.tolist()
    assert (np.diff(children.parent) >= 0).all()


@given(token_rows)
def test_ranges_hold_the_rows_that_begin_alike(rows: list[list[int]]) -> None:
    trie = TitleTrie.build(rows)
    spelled = [trie.tokens_of(row) for row in range(len(trie))]
    for depth in range(4):
        low, high = trie.ranges(np.arange(len(trie)), depth)
        for row, tokens in enumerate(spelled):
            alike = [at for at, other in enumerate(spelled) if other[:depth] == tokens[:depth]]
            assert (low[row], high[row]) == (alike[0], alike[-1] + 1)


@given(token_rows)
def test_rows_of_items_spell_the_titles(rows: list[list[int]]) -> None:
    trie = TitleTrie.build(rows)
    assert [trie.tokens_of(int(row)) for row in trie.rows_of(range(len(rows)))] == rows
    assert trie.rows_of([-1, len(rows)]).tolist() == [-1, -1]


@given(token_rows)
def test_a_row_is_alone_after_its_fork_depth_and_not_before(rows: list[list[int]]) -> None:
    trie = TitleTrie.build(rows)
    distinct = [trie.tokens_of(row) for row in range(len(trie))]
    for row, depth in zip(distinct, trie.fork_depths.tolist(), strict=True):
        assert sum(other[:depth] == row[:depth] for other in distinct) == 1
        assert depth == 0 or sum(other[: depth - 1] == row[: depth - 1] for other in distinct) > 1


@given(token_rows, token_rows, st.sets(st.integers(0, 40)))
def test_adding_and_removing_equals_building_anew(rows: list[list[int]], more: list[list[int]], gone: set[int]) -> None:
    # Items 0, 1, ... of `more` overwrite those of `rows`.
    changed = TitleTrie.build(rows).add(more, list(range(len(more)))).remove(gone)
    final = dict(enumerate(rows)) | dict(enumerate(more))
    kept = {item: row for item, row in final.items() if item not in gone}
    fresh = TitleTrie.build(list(kept.values()), list(kept))
    assert {tuple(path): trie_items(changed, row) for path, row in walk(changed)} == {
        tuple(path): trie_items(fresh, row) for path, row in walk(fresh)
    }


def trie_items(trie: TitleTrie, row: int) -> list[int]:
    return trie.items_of(np.array([row]))[1].tolist()


def test_only_keeps_the_whitelist() -> None:
    trie = TitleTrie.build([[5, 1], [5, 6, 1], [5, 1]]).only([2, 99])
    assert [(path, trie_items(trie, row)) for path, row in walk(trie)] == [([5, 1], [2])]


@pytest.mark.parametrize("row", [[], [5], [5, 1, 6, 1], [1, 5], [-3, 1]])
def test_a_malformed_row_is_refused_by_number(row: list[int]) -> None:
    with pytest.raises(DataError, match="token row 1"):
        TitleTrie.build([[5, 1], row])


def test_rows_and_items_must_be_as_many() -> None:
    with pytest.raises(DataError, match="2 token rows but 1 item"):
        TitleTrie.build([[5, 1], [6, 1]], [0])


def test_a_saved_trie_is_memory_mapped_and_the_same(tmp_path: Path) -> None:
    trie = TitleTrie.build([[5, 1], [5, 6, 1], [5, 1]], [7, 3, 2])
    trie.save(tmp_path / "trie.npz")
    loaded = TitleTrie.load(tmp_path / "trie.npz")
    assert isinstance(loaded.rows.tokens, np.memmap)
    assert [(path, trie_items(loaded, row)) for path, row in walk(loaded)] == [([5, 1], [2, 7]), ([5, 6, 1], [3])]
    assert list(tmp_path.iterdir()) == [tmp_path / "trie.npz"]


def test_an_empty_trie_survives_saving(tmp_path: Path) -> None:
    TitleTrie.build([]).save(tmp_path / "trie.npz")
    assert len(TitleTrie.load(tmp_path / "trie.npz")) == 0


@pytest.mark.parametrize("damage", ["missing", "cut", "text", "pickle", "unfit"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "trie.npz"
    TitleTrie.build([[5, 1], [6, 1]]).save(path)
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    elif damage == "text":
        path.write_text("tokens")
    elif damage == "pickle":
        np.savez(path, tokens=np.array([{}], dtype=object), leaf_offsets=[0], leaf_items=[0], eos=[1])
    else:
        trie = TitleTrie.build([[5, 1], [6, 1]])
        replace(trie, leaf_items=trie.leaf_items[:1]).save(path)
    with pytest.raises(CheckpointError, match=r"trie\.npz"):
        TitleTrie.load(path)


def test_fifty_thousand_titles_are_built_and_walked_quickly() -> None:
    rng = np.random.default_rng(0)
    rows = [[*rng.integers(2, 3000, size=rng.integers(1, 9)).tolist(), EOS] for _ in range(50_000)]
    trie = TitleTrie.build(rows)
    sample = rng.choice(len(rows), 200)
    assert [trie.tokens_of(int(row)) for row in trie.rows_of(sample)] == [rows[item] for item in sample]
    assert len(trie.children([0], [len(trie)], 0).token) == len({row[0] for row in rows})
    held = (trie.rows.offsets, trie.shared, trie.leaf_offsets, trie.leaf_items, trie._row_of_item)
    assert sum(array.nbytes for array in held) < 40 * len(rows)
    assert trie.rows.tokens.nbytes == 4 * sum(map(len, set(map(tuple, rows))))


def test_weights_give_each_child_the_weight_of_the_items_below_it(tmp_path: Path) -> None:
    rows = [[5, 1], [5, 6, 1], [7, 1], [7, 1]]
    trie = TitleTrie.build(rows, weights=np.array([1.0, 2.0, 4.0, 8.0]))
    for tree in (trie, _saved(trie, tmp_path)):
        root = tree.children([0], [len(tree)], 0)
        np.testing.assert_allclose(tree.mass(root.low, root.high), [3.0, 12.0])
        inner = tree.children(root.low[:1], root.high[:1], 1)
        np.testing.assert_allclose(tree.mass(inner.low, inner.high), [1.0, 2.0])
    fewer = trie.remove([3])
    root = fewer.children([0], [len(fewer)], 0)
    np.testing.assert_allclose(fewer.mass(root.low, root.high), [3.0, 4.0])
    more = trie.add([[5, 9, 1]], [4])
    root = more.children([0], [len(more)], 0)
    np.testing.assert_allclose(more.mass(root.low, root.high), [4.0, 12.0])
    with pytest.raises(DataError, match="above zero"):
        TitleTrie.build(rows, weights=np.array([1.0, 0.0, 1.0, 1.0]))


def _saved(trie: TitleTrie, folder: Path) -> TitleTrie:
    trie.save(folder / "trie.npz")
    return TitleTrie.load(folder / "trie.npz")
