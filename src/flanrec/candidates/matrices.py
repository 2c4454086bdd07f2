"""Sparse matrices of users and items: made from a log, updated, and as named arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from flanrec.candidates.base import Arrays, Flat, Ints, check_before, flatten, named_array, once
from flanrec.data.sequences import Sequences
from flanrec.errors import CheckpointError

Matrix: TypeAlias = sparse.csr_matrix
"""Compressed rows with sorted indices."""


def compressed(users: Ints, items: Ints, values: NDArray[Any], shape: tuple[int, int]) -> Matrix:
    """Entries whose users are in rising order as a matrix; entries at one place are left to add up."""
    offsets = np.zeros(shape[0] + 1, dtype=np.int64)
    np.cumsum(np.bincount(users, minlength=shape[0]), out=offsets[1:])
    return sparse.csr_matrix((values, items, offsets), shape=shape)


def incidence(flat: Flat, n_users: int, n_items: int) -> Matrix:
    """1 where a user has met an item, however often: int32 [n_users, n_items]."""
    distinct = once(flat, n_items)
    return compressed(distinct.users, distinct.items, np.ones(len(distinct.items), dtype=np.int32), (n_users, n_items))


def log_incidence(log: Sequences) -> Matrix:
    """`incidence` of a log."""
    users = np.repeat(np.arange(len(log), dtype=np.int64), np.diff(log.offsets))
    return incidence(Flat(users, log.items, np.zeros_like(log.items)), len(log), len(log.item_ids))


def incidence_before_and_after(log: Sequences, before: Sequence[Ints] | None) -> tuple[Matrix, Matrix]:
    """What the users of `log` had met before it and after it, as two `incidence` matrices."""
    n_users, n_items = len(log), len(log.item_ids)
    earlier = check_before(log, before)
    later = [np.concatenate([history, log.of(user)]) for user, history in enumerate(earlier)]
    had, have = (incidence(flatten(histories, n_items), n_users, n_items) for histories in (earlier, later))
    return had, have


def gram(matrix: Matrix, row_weights: NDArray[np.float64] | None = None) -> Matrix:
    """``X.T @ diag(row_weights) @ X``: how often two items were met by one user, weighted.

    Takes time and memory of the sum of the squared lengths of the histories.
    """
    weighted = matrix if row_weights is None else sparse.diags(row_weights) @ matrix
    product = sparse.csr_matrix(matrix.T @ weighted)
    product.sort_indices()
    return product


def resized(matrix: Matrix, rows: int, columns: int) -> Matrix:
    """The same entries in a larger matrix."""
    offsets = np.concatenate([matrix.indptr, np.full(rows - matrix.shape[0], matrix.indptr[-1])])
    return sparse.csr_matrix((matrix.data, matrix.indices, offsets), shape=(rows, columns))


def matrix_layout(name: str) -> dict[str, int]:
    """The arrays of `matrix_arrays` with their dimensions."""
    return {f"{name}_values": 1, f"{name}_columns": 1, f"{name}_offsets": 1, f"{name}_shape": 1}


def matrix_arrays(name: str, matrix: Matrix) -> Arrays:
    """A matrix as four arrays."""
    parts = (matrix.data, matrix.indices, matrix.indptr, np.array(matrix.shape, dtype=np.int64))
    return dict(zip(matrix_layout(name), parts, strict=True))


def matrix_from_arrays(name: str, arrays: Mapping[str, NDArray[Any]]) -> Matrix:
    """Restore `matrix_arrays`.

    Raises
    ------
    CheckpointError
        If an array is missing, or the four are no matrix.
    """
    values, columns, offsets, shape = (named_array(arrays, each, 1) for each in matrix_layout(name))
    try:
        if len(offsets) == 0 or not len(values) == len(columns) == int(offsets[-1]):
            raise ValueError("their lengths do not fit")
        # Indices outside the matrix would make scipy read memory that is not its own.
        matrix = sparse.csr_matrix((values, columns, offsets), shape=tuple(shape.tolist()))
        matrix.check_format(full_check=True)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the arrays {name}_* are no sparse matrix ({error}); fit and save again") from error
    return matrix


def square_from_arrays(name: str, arrays: Mapping[str, NDArray[Any]]) -> Matrix:
    """Restore a matrix of items and items.

    Raises
    ------
    CheckpointError
        If the arrays are no such matrix.
    """
    matrix = matrix_from_arrays(name, arrays)
    if matrix.shape[0] != matrix.shape[1]:
        raise CheckpointError(
            f"the arrays {name}_* have shape {matrix.shape}, not of items and items; fit and save again"
        )
    return matrix
