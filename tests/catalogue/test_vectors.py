"""Vectors of titles and texts, from the real encoder."""

from __future__ import annotations

import numpy as np

from flanrec.backbone import Backbone
from flanrec.backbone.prompts import mean_states
from flanrec.catalogue.vectors import joined_vectors, title_states, unit


def test_the_year_of_a_title_is_left_out(backbone: Backbone) -> None:
    found = title_states(backbone, ["Toy Story (1995)", "Toy Story", "(1995)"])
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[2]).max() > 0, "a title that is a year alone is kept"


def test_depth_chooses_the_layer(backbone: Backbone) -> None:
    texts = ["An old lighthouse", "A short summer"]
    top = mean_states(backbone, texts)
    np.testing.assert_array_equal(mean_states(backbone, texts, depth=1.0), top)
    words = mean_states(backbone, texts, depth=0.0)
    assert not np.allclose(words, top)
    ids, _ = backbone.encode_texts(texts[:1])
    np.testing.assert_allclose(words[0], backbone.model.get_input_embeddings()(ids)[0].mean(dim=0).detach(), atol=1e-4)


def test_products_of_joined_vectors_weigh_both_likenesses() -> None:
    rng = np.random.default_rng(0)
    texts, titles = (unit(rng.normal(size=(3, 4)).astype(np.float32), np.float32(0)) for _ in range(2))
    joined = joined_vectors(texts, titles)
    np.testing.assert_allclose(joined @ joined.T, 0.7 * texts @ texts.T + 0.3 * titles @ titles.T, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(joined, axis=1), 1, atol=1e-6)
