"""Readings of a large catalogue: the same lists from a graph as from scoring every item."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from flanrec.catalogue.item_graph import IndexSettings
from flanrec.recommender import Asking, Recommender
from flanrec.recommender.readings import TokenReading


@pytest.mark.skipif(importlib.util.find_spec("usearch") is None, reason="the extra 'fast' is not installed")
def test_a_large_catalogue_is_searched_by_its_graph(fitted: Recommender) -> None:
    whole = fitted.parts.token_reading
    assert whole.index is None
    settings = IndexSettings(exact_below=10, candidates=30)
    searched = TokenReading(
        whole.tokens, whole.encoder, whole.prompter, batch_size=2, outputs=whole.outputs, searched=settings
    )
    people = fitted.people(["u1", "u2", "u5"])
    asking = [Asking(), Asking(wish="comedy"), Asking()]
    seen = [person.items for person in people]
    items, scores = searched.top(people, 8, asking, excluded=seen)
    assert searched.index is not None
    assert not searched.index.exact
    expected, logs = whole.top(people, 8, asking, excluded=seen)
    np.testing.assert_array_equal(items, expected)
    # Scores are those of the whole catalogue but for each user's constant.
    np.testing.assert_allclose(scores - scores[:, :1], logs - logs[:, :1], atol=1e-3)


def test_without_the_extra_every_item_is_scored(fitted: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted.parts.token_reading
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    settings = IndexSettings(exact_below=10)
    plain = TokenReading(whole.tokens, whole.encoder, whole.prompter, outputs=whole.outputs, searched=settings)
    assert plain.index is None
    items, _ = plain.top(fitted.people(["u1"]), 5)
    np.testing.assert_array_equal(items, whole.top(fitted.people(["u1"]), 5)[0])


def test_what_alone_may_come_is_scored_whole(fitted: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fitted.parts.token_reading
    monkeypatch.setattr(TokenReading, "index", None)
    allowed = np.zeros(30, dtype=bool)
    allowed[[3, 9]] = True
    items, _ = whole.top(fitted.people(["u1"]), 5, allowed=allowed)
    assert set(items[0].tolist()) <= {3, 9, -1}
