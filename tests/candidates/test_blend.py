"""The closed-form blend: its formula, and weights that make what came next likeliest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp

from flanrec.candidates import Blend, Ease, FittedBlend, Transitions
from flanrec.data import Sequences


def log_of(histories: list[list[int]], n_items: int) -> Sequences:
    flat = np.array([item for history in histories for item in history], dtype=np.int64)
    offsets = np.append(0, np.cumsum([len(history) for history in histories])).astype(np.int64)
    nothing = np.full(len(flat), np.nan)
    return Sequences(list(range(len(histories))), list(range(n_items)), offsets, flat, nothing.astype("f4"), nothing)


@pytest.fixture
def walks() -> list[list[int]]:
    """Users who mostly go on to the next number, and otherwise jump."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(80):
        walk = [int(rng.integers(12))]
        for _ in range(6):
            step = (walk[-1] + 1) % 12 if rng.random() < 0.7 else int(rng.integers(12))
            walk.append(step)
        found.append(list(dict.fromkeys(walk)))
    return [walk for walk in found if len(walk) > 2]


@pytest.fixture
def blend(walks: list[list[int]]) -> FittedBlend:
    return Blend(ease=Ease(l2=10.0), transitions=Transitions(window=2, damping=5.0)).fit(
        log_of([walk[:-1] for walk in walks], 12)
    )


def mean_log_likelihood(blend: FittedBlend, walks: list[list[int]]) -> float:
    total = 0.0
    for walk in walks:
        scores = blend.scores([np.array(walk[:-1])])[0].astype(np.float64)
        scores[walk[:-1]] = -np.inf
        total += scores[walk[-1]] - logsumexp(scores)
    return total / len(walks)


def test_scores_are_the_weighted_sum_of_standardised_ease_and_smoothed_log_transitions(blend: FittedBlend) -> None:
    history = np.array([3, 4], dtype=np.int64)
    near = blend.ease.scores([history])[0]
    shares = np.exp(blend.popularity.scores([history])[0])
    expected = 0.36 * (near - near.mean()) / near.std() + 0.89 * np.log(
        blend.transitions.scores([history])[0] + 0.1 * shares
    )
    np.testing.assert_allclose(blend.scores([history])[0], expected, rtol=1e-4)


def test_a_stranger_gets_the_order_of_popularity(blend: FittedBlend) -> None:
    nobody = [np.zeros(0, dtype=np.int64)]
    assert np.argsort(blend.scores(nobody)[0]).tolist() == np.argsort(blend.popularity.scores(nobody)[0]).tolist()


def test_tuned_weights_are_no_worse_than_any_near_them(blend: FittedBlend, walks: list[list[int]]) -> None:
    histories = [np.array(walk[:-1]) for walk in walks]
    tuned = blend.tuned(histories, [walk[-1] for walk in walks])
    best = mean_log_likelihood(tuned, walks)
    assert best > mean_log_likelihood(blend, walks)
    first, second = tuned.source.weights
    for change in ((0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.0, -0.1)):
        other = (max(first + change[0], 0.0), max(second + change[1], 0.0))
        moved = replace(tuned, source=replace(tuned.source, weights=other))
        assert mean_log_likelihood(moved, walks) <= best + 1e-4


def test_without_events_to_learn_from_the_weights_stay(blend: FittedBlend) -> None:
    assert blend.tuned([], []).source.weights == (0.36, 0.89)
