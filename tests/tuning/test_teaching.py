"""Beliefs of a teacher as distributions over what is possible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.tuning.teaching import beliefs, blended


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 1.0))
def test_beliefs_and_blends_are_distributions_over_what_is_possible(seed: int, trust: float) -> None:
    rng = np.random.default_rng(seed)
    likely = rng.normal(0, 50, (4, 6)).astype(np.float32)
    possible = rng.random((4, 6)) < 0.5
    found = beliefs(likely, possible)
    assert not found[~possible].any()
    np.testing.assert_allclose(found.sum(axis=1), possible.any(axis=1), atol=1e-9)
    for row in range(4):
        best = np.where(possible[row], likely[row], -np.inf)
        if possible[row].any():
            assert found[row].argmax() == best.argmax()
    came = np.zeros((4, 6))
    came[[0, 1], [2, 3]] = 1.0
    mixed = blended(found, came, trust)
    if 0.001 < trust < 0.999:
        np.testing.assert_allclose(mixed.sum(axis=1), possible.any(axis=1) | came.any(axis=1), atol=1e-9)
    for row in (0, 1):
        if possible[row].any():
            np.testing.assert_allclose(mixed[row], trust * found[row] + (1 - trust) * came[row], atol=1e-9)


def test_equal_log_probabilities_are_equal_beliefs_whatever_their_constant() -> None:
    likely = np.array([[0.0, 0.0, -1e3], [900.0, 900.0, 0.0]], dtype=np.float32)
    found = beliefs(likely, np.ones((2, 3), dtype=bool))
    assert found[0].tolist() == pytest.approx([0.5, 0.5, 0.0])
    assert found[1].tolist() == pytest.approx([0.5, 0.5, 0.0])
