"""Sparse matrices of users and items: made from a log, updated, and as named arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from flanrec.candidates.base import Arrays, Flat, Ints, check_growth, extended, flat_log, flatten, named_array, once
from flanrec.data.sequences import Sequences
from flanrec.errors import CheckpointError, DataError

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
    return incidence(flat_log(log), len(log), len(log.item_ids))


def incidence_before_and_after(log: Sequences, before: Sequences | None) -> tuple[Matrix, Matrix]:
    """What the users of `log` had met before it and after it, as two `incidence` matrices."""
    n_users, n_items = len(log), len(log.item_ids)
    whole, _ = extended(log, before)
    had = sparse.csr_matrix((n_users, n_items), dtype=np.int32)
    return had if before is None else incidence(flat_log(before), n_users, n_items), log_incidence(whole)


def incidence_with(met: Matrix, log: Sequences, before: Sequences | None) -> Matrix:
    """Who met what, with the further events of `log`: their users stand behind the others.

    Parameters
    ----------
    met
        int32 [n_users, n_items], 1 where a user has met an item.
    before
        The earlier events of the users of `log`, in its order; None where all are new.

    Returns
    -------
    scipy.sparse.csr_matrix
        int32 [n_users and new ones, at least n_items].

    Raises
    ------
    DataError
        If no row of `met` has just what `before` says of a user, or the catalogue shrank.
    """
    n_items = check_growth(met.shape[1], log)
    had, have = incidence_before_and_after(log, before)
    known = without_rows(resized(met, met.shape[0], n_items), had)
    return sparse.csr_matrix(sparse.vstack([known, have], format="csr"))


def pairs_within(flat: Flat, fresh: NDArray[np.bool_], window: int) -> Iterator[tuple[int, Ints, Ints]]:
    """Pairs of events of one user whose later one is `fresh`, by their distance.

    Yields
    ------
    distance
        From 1 to `window` places.
    first, second
        int64 [n_pairs], rows of `flat`.
    """
    for distance in range(1, min(window, max(len(flat.users) - 1, 0)) + 1):
        counted = (flat.users[:-distance] == flat.users[distance:]) & fresh[distance:]
        first = np.flatnonzero(counted)
        yield distance, first, first + distance


def summed(
    rows: Sequence[Ints], columns: Sequence[Ints], values: Sequence[NDArray[np.float64]], n_items: int
) -> Matrix:
    """Entries in any order, those at one place added up: float64 [n_items, n_items]."""
    nothing = np.zeros(0, dtype=np.int64)
    places = np.concatenate([nothing, *rows]), np.concatenate([nothing, *columns])
    matrix = sparse.coo_matrix((np.concatenate([np.zeros(0), *values]), places), (n_items, n_items)).tocsr()
    matrix.sort_indices()
    return matrix


def row_shares(counts: Matrix, damping: float) -> Matrix:
    """Each row divided by its sum and `damping`: float32, what damped rows of counts say."""
    totals = np.asarray(counts.sum(axis=1)).ravel() + damping
    shares = np.repeat(1 / np.where(totals > 0, totals, 1), np.diff(counts.indptr)) * counts.data
    return sparse.csr_matrix((shares.astype(np.float32), counts.indices, counts.indptr), counts.shape)


def newest_weighted(histories: Sequence[Ints], newest: int, n_items: int) -> Matrix:
    """The newest events of each history, each weighing 1 by its place from the end: float32 [n_users, n_items]."""
    flat = flatten(histories, n_items)
    recent = flat.ages < newest
    weights = (1 / (flat.ages[recent] + 1)).astype(np.float32)
    return compressed(flat.users[recent], flat.items[recent], weights, (len(histories), n_items))


def gram(matrix: Matrix, row_weights: NDArray[np.float64] | None = None) -> Matrix:
    """``X.T @ diag(row_weights) @ X``: how often two items were met by one user, weighted.

    Takes time and memory of the sum of the squared lengths of the histories.
    """
    weighted = matrix if row_weights is None else sparse.diags(row_weights) @ matrix
    product = sparse.csr_matrix(matrix.T @ weighted)
    product.sort_indices()
    return product


def without_rows(known: Matrix, had: Matrix) -> Matrix:
    """The rows of `known` less one equal row for each row of `had` that is not empty."""
    rows: dict[bytes, list[int]] = {}
    for row in range(known.shape[0]):
        rows.setdefault(_content(known, row), []).append(row)
    keep = np.ones(known.shape[0], dtype=bool)
    for row in np.flatnonzero(np.diff(had.indptr)).tolist():
        same = rows.get(_content(had, row))
        if not same:
            raise DataError(
                f"the events before the update of its user {row} are not in the log that was fitted; "
                "pass the whole history of each user, or fit anew"
            )
        keep[same.pop()] = False
    return known[np.flatnonzero(keep)]


def _content(matrix: Matrix, row: int) -> bytes:
    items: Ints = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]].astype(np.int64)
    return items.tobytes()


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
