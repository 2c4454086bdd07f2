from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanrec.candidates import ItemNeighbours
from flanrec.candidates.matrices import log_incidence
from flanrec.errors import SettingsError

HISTORIES = st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=6)


def by_loops(logged: list[list[int]], settings: ItemNeighbours) -> np.ndarray:
    """The similarity of all pairs from one weighted vector an item."""
    users = [set(each) for each in logged]
    counts = [sum(item in user for user in users) for item in range(6)]
    vectors = np.zeros((6, len(users)))
    for item in range(6):
        for user, met in enumerate(users):
            if item not in met:
                continue
            if settings.weighting == "cosine":
                vectors[item, user] = 1 / math.sqrt(counts[item])
            else:
                norm = 1 - settings.b + settings.b * counts[item] / (sum(counts) / 6)
                rarity = math.log(6) - math.log1p(len(met))
                vectors[item, user] = rarity * (settings.k1 + 1) / (settings.k1 * norm + 1)
    return vectors @ vectors.T


@settings(deadline=None)
@given(HISTORIES, st.sampled_from(["cosine", "bm25"]), st.sampled_from([(1.2, 0.75), (100.0, 0.8), (2.0, 0.0)]))
def test_similarities_equal_plain_loops(
    make_log, logged: list[list[int]], weighting, bm25: tuple[float, float]
) -> None:
    source = ItemNeighbours(weighting, neighbours=6, k1=bm25[0], b=bm25[1])
    expected = by_loops(logged, source)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(source.fit(make_log(logged, 6)).similar.toarray(), expected, rtol=1e-4, atol=1e-6)


def test_an_item_keeps_its_nearest_only_and_the_first_of_equals(make_log) -> None:
    logged = [[0, 3], [0, 3], [0, 2], [0, 1]]
    similar = ItemNeighbours(neighbours=2).fit(make_log(logged, 4)).similar
    assert similar[0].indices.tolist() == [1, 3]


def test_scores_sum_over_the_history_each_item_once(make_log) -> None:
    fitted = ItemNeighbours(neighbours=6).fit(make_log([[0, 1, 2], [0, 2], [1, 3]], 4))
    similar = fitted.similar.toarray()
    np.testing.assert_allclose(fitted.scores([np.array([0, 1, 0])])[0], similar[0] + similar[1], rtol=1e-6)


@pytest.mark.filterwarnings("ignore:Method expects CSR input")
@pytest.mark.parametrize("weighting", ["cosine", "bm25"])
def test_similarities_equal_those_of_implicit(make_log, weighting) -> None:
    nearest = pytest.importorskip("implicit.nearest_neighbours")
    rng = np.random.default_rng(0)
    logged = [rng.choice(20, size=rng.integers(1, 6), replace=False).tolist() for _ in range(60)]
    model = nearest.CosineRecommender(K=20) if weighting == "cosine" else nearest.BM25Recommender(K=20)
    model.fit(log_incidence(make_log(logged, 20)).astype(np.float64), show_progress=False)
    expected = model.similarity.toarray()
    np.fill_diagonal(expected, 0)
    found = ItemNeighbours(weighting, neighbours=19).fit(make_log(logged, 20)).similar.toarray()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("wrong", [{"weighting": "tfidf"}, {"neighbours": 0}, {"k1": -1.0}, {"b": 2.0}])
def test_settings_that_cannot_work_are_refused(wrong) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        ItemNeighbours(**wrong)
