"""NDCG@10 of held-out events from flat scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def ndcg_of_answers(users: Ints, right: NDArray[np.bool_], scores: NDArray[Any], n_users: int) -> NDArray[np.float64]:
    """NDCG@10 of each user with one answer.

    Parameters
    ----------
    users
        int64 [n_pairs], rows of the users.
    right
        bool [n_pairs], whether the pair is its user's answer.
    scores
        float [n_pairs]; equal ones stand before the answer.

    Returns
    -------
    numpy.ndarray
        float64 [n_users], 0 for users without their answer.
    """
    own = np.full(n_users, np.inf)
    own[users[right]] = scores[right]
    before = np.bincount(users[(scores > own[users]) | ((scores == own[users]) & ~right)], minlength=n_users)
    return np.where(np.isfinite(own) & (before < 10), 1 / np.log2(before + 2.0), 0.0)
