"""What to ask somebody new: the items whose answers tell most about all others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from flanrec.data.sequences import Sequences

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def telling_items(log: Sequences, k: int, liked_rating: float, among: Ints) -> tuple[Ints, Floats]:
    """The items whose answers tell most about the answers to all others, the first first.

    Somebody's answer is 1 for a like, -1 for a dislike and 0 for not knowing the item; without ratings 1 for knowing
    it. The next item is the one that explains most of what is left of the variance of all answers, where an answer is
    taken to have as much noise as an item varies on average; what it explains is taken away before the next one is
    chosen, so that items that tell the same are not asked one after another (greedy experimental design: Krause, Singh
    and Guestrin, "Near-optimal sensor placements in Gaussian processes", JMLR 2008).

    Parameters
    ----------
    among
        int64 [n], catalogue indices; memory is n * n.

    Returns
    -------
    items : int64 [at most k]
    shares : float64 [at most k]
        Of the variance of all answers that each explains beyond those before.
    """
    place = np.full(len(log.item_ids), -1, dtype=np.int64)
    place[among] = np.arange(len(among))
    users, items = np.repeat(np.arange(len(log)), np.diff(log.offsets)), place[log.items]
    rated = ~np.isnan(log.ratings)
    said = np.where(log.ratings >= liked_rating, 1.0, -1.0) if rated.any() else np.ones(len(items))
    kept = (items >= 0) & (rated | ~rated.any())
    # Of an item that was met several times the last answer counts.
    _, last = np.unique((users * len(among) + items)[kept][::-1], return_index=True)
    told, (rows, columns) = said[kept][::-1][last], (values[kept][::-1][last] for values in (users, items))
    answers = sparse.csr_matrix((told, (rows, columns)), shape=(len(log), len(among)))
    mean = np.asarray(answers.mean(axis=0)).ravel() if len(log) else np.zeros(len(among))
    left = (answers.T @ answers).toarray() / max(len(log), 1) - np.outer(mean, mean)
    total = float(np.trace(left))
    noise = max(total / max(len(among), 1), 1e-12)
    chosen: list[int] = []
    shares: list[float] = []
    for _ in range(min(k, len(among))):
        gains = np.square(left).sum(axis=0) / (left.diagonal() + noise)
        gains[chosen] = -1.0
        best = int(gains.argmax())
        chosen.append(best)
        shares.append(float(gains[best]) / total if total > 0 else 0.0)
        left -= np.outer(left[:, best], left[best]) / (left[best, best] + noise)
    return among[chosen], np.array(shares)
