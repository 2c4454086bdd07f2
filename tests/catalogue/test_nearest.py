"""The best items by exact scores and by a graph: the same lists, and what comes out has its true score."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from flanrec.catalogue.item_graph import IndexSettings
from flanrec.catalogue.nearest import ItemIndex
from flanrec.errors import SettingsError

needs_usearch = pytest.mark.skipif(
    importlib.util.find_spec("usearch") is None, reason="the extra 'fast' is not installed"
)


def drawn(items: int, users: int = 20, width: int = 32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors whose columns fade, as those of item tokens do, with a bias that matters."""
    rng = np.random.default_rng(0)
    fading = np.exp(-np.arange(width) / 8)
    vectors = (rng.normal(size=(items, width)) * fading).astype(np.float32)
    bias = rng.normal(size=items).astype(np.float32)
    return vectors, bias, rng.normal(size=(users, width)).astype(np.float32)


def test_small_catalogues_are_scored_whole() -> None:
    vectors, bias, states = drawn(50)
    index = ItemIndex(vectors, bias)
    assert index.exact
    items, scores = index.top(states, 5, [np.arange(40)] * len(states))
    expected = states @ vectors.T + bias
    expected[:, :40] = -np.inf
    np.testing.assert_array_equal(items, np.argsort(-expected, axis=1)[:, :5])
    np.testing.assert_allclose(scores, np.sort(expected, axis=1)[:, ::-1][:, :5], rtol=1e-5)
    everything, values = index.top(states, 60)
    assert (everything[:, 50:] == -1).all()
    assert np.isneginf(values[:, 50:]).all()


@needs_usearch
def test_the_graph_finds_nearly_all_with_true_scores() -> None:
    vectors, bias, states = drawn(5000)
    index = ItemIndex(vectors, bias, states, IndexSettings(exact_below=1000, width=16, candidates=200), threads=1)
    assert not index.exact
    assert index.recall(states, 10) > 0.97
    items, scores = index.top(states, 10)
    for user in range(len(states)):
        np.testing.assert_allclose(scores[user], vectors[items[user]] @ states[user] + bias[items[user]], rtol=1e-4)
        assert (np.diff(scores[user]) <= 0).all()


@needs_usearch
def test_excluded_items_never_come_and_others_take_their_place() -> None:
    vectors, bias, states = drawn(3000)
    index = ItemIndex(vectors, bias, states, IndexSettings(exact_below=0, width=16, candidates=100), threads=1)
    best, _ = index.top(states, 10)
    items, _ = index.top(states, 10, list(best))
    assert not any(set(one) & set(other) for one, other in zip(best.tolist(), items.tolist(), strict=True))
    assert (items >= 0).all()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    vectors, bias, states = drawn(20)
    with pytest.raises(SettingsError, match=r"flanrec\[fast\]"):
        ItemIndex(vectors, bias, states, IndexSettings(exact_below=10))
