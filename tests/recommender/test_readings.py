"""Readings of a large catalogue: the same lists from a graph as from scoring every item."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

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


def test_what_was_read_is_remembered_until_the_history_or_the_words_change(
    fitted: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fitted.parts.token_reading
    reading = TokenReading(whole.tokens, whole.encoder, whole.prompter, outputs=whole.outputs)
    read: list[int] = []
    monkeypatch.setattr(
        reading, "_states", lambda histories, prompts: read.append(len(prompts)) or whole._states(histories, prompts)
    )
    people, words = fitted.people(["u1", "u2"]), [Asking(), Asking(wish="comedy")]
    first = reading.scores([people[0], people[1], people[0]], [words[0], words[0], words[0]])
    assert read == [2]  # who is asked for twice is read once
    np.testing.assert_array_equal(reading.scores(people[:2]), first[:2])
    assert read == [2]
    np.testing.assert_allclose(first, whole.scores([people[0], people[1], people[0]]), atol=1e-5)
    wished = reading.scores(people, [words[1], words[0]])
    assert read == [2, 1]
    assert np.abs(wished[0] - first[0]).max() > 1e-4
    later = replace(people[0], items=np.append(people[0].items, 7), ratings=np.append(people[0].ratings, np.nan))
    assert np.abs(reading.scores([later])[0] - first[0]).max() > 1e-4
    assert read == [2, 1, 1]
    still = TokenReading(whole.tokens, whole.encoder, whole.prompter)  # of tokens that are being tuned
    still.scores(people)
    assert not still._read
