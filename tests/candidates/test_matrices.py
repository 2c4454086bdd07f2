from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from flanrec.candidates.matrices import (
    gram,
    log_incidence,
    matrix_arrays,
    matrix_from_arrays,
    resized,
    square_from_arrays,
)
from flanrec.errors import CheckpointError


def test_incidence_counts_an_item_once_however_often_it_was_met(make_log) -> None:
    assert log_incidence(make_log([[2, 0, 2], [], [1]], 3)).toarray().tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_gram_weighs_users(make_log) -> None:
    met = log_incidence(make_log([[0, 1], [0]], 2))
    assert gram(met).toarray().tolist() == [[2, 1], [1, 1]]
    assert gram(met, np.array([0.5, 3.0])).toarray().tolist() == [[3.5, 0.5], [0.5, 0.5]]


def test_a_resized_matrix_has_the_same_entries() -> None:
    grown = resized(sparse.csr_matrix(np.array([[1, 0], [2, 3]])), 3, 4)
    assert grown.toarray().tolist() == [[1, 0, 0, 0], [2, 3, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("m_columns", [0, 7]),
        ("m_columns", [0, -1]),
        ("m_offsets", [0, 5, 2]),
        ("m_offsets", [1, 1, 2]),
        ("m_offsets", []),
        ("m_values", [1.0]),
        ("m_shape", [2]),
        ("m_shape", [2, 1]),
        ("m_shape", [3, 2]),
    ],
)
def test_arrays_that_are_no_matrix_are_refused(name: str, values: list[float]) -> None:
    arrays = matrix_arrays("m", sparse.csr_matrix(np.array([[1.0, 0.0], [0.0, 2.0]])))
    arrays[name] = np.array(values, dtype=arrays[name].dtype)
    with pytest.raises(CheckpointError, match="no sparse matrix"):
        matrix_from_arrays("m", arrays)


def test_a_matrix_of_items_and_items_must_be_square() -> None:
    with pytest.raises(CheckpointError, match=r"\(1, 2\)"):
        square_from_arrays("m", matrix_arrays("m", sparse.csr_matrix(np.ones((1, 2)))))
