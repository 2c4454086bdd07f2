"""What a teacher expects of the next item, as targets beside what came."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Teacher = Callable[[Sequence[NDArray[np.int64]]], NDArray[np.float32]]
"""Says after each history how likely every item comes next: float32 [n_histories, n_items], log-probabilities up to
a constant of each row. A `flanrec.candidates` scorer of probabilities is one."""


def beliefs(likely: NDArray[np.float32], possible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Probabilities among the items that are possible.

    Parameters
    ----------
    likely
        [n, n_items], log-probabilities up to a constant of each row.
    possible
        [n, n_items]

    Returns
    -------
    float64 [n, n_items]
        Rows add up to one; those without a possible item are zero.

    Examples
    --------
    >>> beliefs(np.zeros((2, 3), np.float32), np.array([[True, True, False], [False] * 3])).tolist()
    [[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]
    """
    logits = np.where(possible, likely.astype(np.float64), -np.inf)
    peak = logits.max(axis=1, keepdims=True)
    weights = np.exp(logits - np.where(np.isfinite(peak), peak, 0.0))
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(weights / np.where(total > 0, total, 1.0))


def blended(believed: NDArray[np.float64], came: NDArray[np.float64], trust: float) -> NDArray[np.float64]:
    """The share `trust` of the beliefs beside what came; where one of them is empty, the other alone.

    Parameters
    ----------
    believed, came
        float64 [n, n_items], distributions or rows of zeros.
    """
    mixed = trust * believed + (1 - trust) * came
    total = mixed.sum(axis=1, keepdims=True)
    return np.asarray(mixed / np.where(total > 0, total, 1.0))
