"""Items without a past are told from alike ones."""

from __future__ import annotations

import numpy as np
import pytest

from flanrec.ranking.content import Content, Newcomers

RNG = np.random.default_rng(0)


def content(n_items: int = 40, texts: bool = True) -> Content:
    """Items of two kinds; texts of a kind are alike."""
    kind = np.arange(n_items) % 2
    vectors = np.eye(2)[kind] * 2 + RNG.normal(size=(n_items, 2)) * 0.3 if texts else np.zeros((n_items, 2))
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    members = np.eye(2, dtype=bool)[kind]
    return Content.of((vectors / lengths).astype(np.float32), members, [1990 + item % 3 for item in range(n_items)])


def test_likeness_is_a_kernel() -> None:
    every = np.arange(40)
    alike = content().likeness(every, every)
    np.testing.assert_allclose(alike, alike.T)
    assert np.linalg.eigvalsh(alike).min() > -1e-8
    assert alike[0, 2] > alike[0, 1], "of one kind"


def test_items_without_year_kind_or_text_are_alike_by_what_is_left() -> None:
    bare = Content.of(np.zeros((3, 2), np.float32), np.zeros((3, 0), dtype=bool), [None, 1990, 1991])
    alike = bare.likeness(np.arange(3), np.arange(3))
    assert np.isfinite(alike).all()
    assert alike[1, 2] > alike[0, 1]


def test_who_likes_a_kind_is_told_new_items_of_it() -> None:
    counts = np.array([5] * 30 + [0] * 10)
    newcomers = Newcomers.of(content(), counts)
    assert newcomers.anchors.tolist() == list(range(30))
    heard = np.zeros((2, 40), dtype=np.float32)
    heard[0, 0:30:2], heard[1, 1:30:2] = 1, 1
    found = newcomers.scores(heard, np.zeros(40, dtype=np.float32))
    assert found.shape == (2, 40)
    assert found[0, 30::2].min() > found[0, 31::2].max()
    assert found[1, 31::2].min() > found[1, 30::2].max()


def test_an_item_with_a_past_is_told_by_the_others_alone() -> None:
    """As if it were hidden and the rest solved anew."""
    counts, items = np.full(20, 3), content(20)
    heard = RNG.normal(size=(4, 20)).astype(np.float32)
    shares = np.zeros(20, dtype=np.float32)
    whole = Newcomers.of(items, counts)
    hidden = Newcomers(items, np.delete(whole.anchors, 7))
    weights = whole._weights[7]
    assert weights[7] == 0
    np.testing.assert_allclose(np.delete(weights, 7), hidden._weights[7], rtol=1e-4, atol=1e-6)
    assert whole.scores(heard, shares).shape == (4, 20)


def test_who_did_nothing_is_told_what_is_likely_to_be_popular() -> None:
    shares = np.log(np.where(np.arange(40) % 2, 0.04, 0.001)).astype(np.float32)
    newcomers = Newcomers.of(content(), np.array([5] * 30 + [0] * 10))
    found = newcomers.scores(np.zeros((1, 40), dtype=np.float32), shares)[0]
    assert found[31::2].min() > found[30::2].max()


@pytest.mark.parametrize("counts", [np.zeros(4, dtype=np.int64), np.zeros(0, dtype=np.int64)])
def test_without_any_past_nothing_is_told(counts: np.ndarray) -> None:
    newcomers = Newcomers.of(content(4), counts)
    found = newcomers.scores(np.zeros((2, len(counts)), np.float32), np.zeros(len(counts), np.float32))
    assert found.tolist() == [[0.0] * 4] * 2


@pytest.mark.parametrize(("kept", "at_once"), [(4096, 1 << 24), (10, 1 << 24), (10, 1)])
def test_the_nearest_text_is_the_most_alike_of_the_ten_newest(
    monkeypatch: pytest.MonkeyPatch, kept: int, at_once: int
) -> None:
    """With all products at hand, and without, many users at once or one."""
    monkeypatch.setattr("flanrec.ranking.content._MOST_PRODUCTS", kept)
    monkeypatch.setattr("flanrec.ranking.content._PRODUCTS_AT_ONCE", at_once)
    items = content(40)
    histories = [RNG.integers(0, 40, size) for size in (3, 0, 25, 10, 1)]
    found = items.nearest(histories)
    assert found.shape == (5, 40)
    for row, history in enumerate(histories):
        alike = [max((items.texts[item] @ items.texts[old] for old in history[-10:]), default=0) for item in range(40)]
        np.testing.assert_allclose(found[row], alike, atol=1e-6)
