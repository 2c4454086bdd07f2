from __future__ import annotations

import sys

import numpy as np
import pytest

from flanrec.candidates import Factors
from flanrec.errors import CheckpointError, DataError, SettingsError

LOGGED = [[0, 2, 4], [0, 2], [1, 3, 5], [3, 5], [0, 4], [1, 5], [], [2, 4]]


@pytest.mark.filterwarnings("ignore::RuntimeWarning:implicit.*")
class TestWithImplicit:
    @pytest.fixture(autouse=True)
    def _needs_implicit(self) -> None:
        pytest.importorskip("implicit")

    @pytest.mark.parametrize("confidence", [1.0, 5.0])
    def test_a_user_is_folded_in_by_weighted_least_squares(self, make_log, confidence: float) -> None:
        fitted = Factors(embedding_size=3, confidence=confidence).fit(make_log(LOGGED, 6))
        factors = fitted.item_factors.astype(float)
        met = np.array([1, 0, 0, 1, 0, 0])
        weights = np.sqrt(1 + (confidence - 1) * met)
        rows = np.vstack([weights[:, None] * factors, np.sqrt(fitted.source.l2) * np.eye(3)])
        user = np.linalg.lstsq(rows, np.concatenate([weights * met, np.zeros(3)]), rcond=None)[0]
        np.testing.assert_allclose(fitted.scores([np.array([3, 0])])[0], factors @ user, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("confidence", [1.0, 5.0])
    def test_a_user_is_folded_in_as_implicit_does(self, make_log, confidence: float) -> None:
        from implicit.cpu.als import AlternatingLeastSquares
        from scipy import sparse

        fitted = Factors(embedding_size=3, confidence=confidence).fit(make_log(LOGGED, 6))
        model = AlternatingLeastSquares(factors=3, regularization=fitted.source.l2, alpha=confidence, dtype=np.float64)
        model.item_factors = fitted.item_factors.astype(np.float64)
        user = model.recalculate_user(0, sparse.csr_matrix(np.array([[1.0, 0, 0, 1, 0, 0]])))
        expected = model.item_factors @ user
        np.testing.assert_allclose(fitted.scores([np.array([3, 0])])[0], expected, rtol=1e-4, atol=1e-6)

    def test_two_circles_are_told_apart(self, make_log) -> None:
        scores = Factors(embedding_size=2, l2=0.1).fit(make_log(LOGGED, 6)).scores([np.array([0]), np.array([1])])
        assert scores[0, ::2].min() > scores[0, 1::2].max()
        assert scores[1, 1::2].min() > scores[1, ::2].max()

    def test_an_update_of_a_user_who_was_not_fitted_is_refused(self, make_log) -> None:
        fitted = Factors(embedding_size=2).fit(make_log(LOGGED, 6))
        with pytest.raises(DataError, match="user 0"):
            fitted.update(make_log([[1]], 6), before=make_log([[0, 1]], 6))

    def test_factors_of_another_size_are_refused(self, make_log) -> None:
        arrays = Factors(embedding_size=2).fit(make_log(LOGGED, 6)).arrays()
        with pytest.raises(CheckpointError, match="3 numbers an item"):
            Factors(embedding_size=3).from_arrays(arrays)


def test_without_implicit_the_message_says_how_to_install_it(make_log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    with pytest.raises(SettingsError, match=r"pip install .flanrec\[baselines\]"):
        Factors().fit(make_log(LOGGED, 6))


@pytest.mark.parametrize("wrong", [{"embedding_size": 0}, {"epochs": 0}, {"l2": 0.0}, {"confidence": 0.5}])
def test_settings_that_cannot_work_are_refused(wrong) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Factors(**wrong)
