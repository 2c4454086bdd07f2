"""The best set of items under quotas, exactly: where groups overlap, choosing greedily can run into a corner."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp

from flanrec.metrics.lists import BoolArray, FloatArray


def best_set(
    relevance: FloatArray,
    members: BoolArray,
    least: npt.NDArray[np.int64],
    most: npt.NDArray[np.int64],
    k: int,
    usable: BoolArray,
    pinned: BoolArray,
) -> npt.NDArray[np.int64]:
    """Return the places of at most k items: fewest missing below a least, then the longest list, then most relevance.

    No *most* is exceeded, except by pinned items, which are always in the set. Milliseconds for hundreds of items
    (mixed-integer programme, HiGHS).

    Parameters
    ----------
    relevance
        ``float64[n]`` between 0 and 1.
    members
        ``bool[n_groups, n]``.
    usable, pinned
        ``bool[n]``: may, and must, be in the set. At most k are pinned.

    Examples
    --------
    >>> drama_and_old = np.array([[True, True, False], [False, True, True]])
    >>> one, every = np.ones(2, dtype=np.int64), np.ones(3, dtype=np.bool_)
    >>> best_set(np.array([1.0, 0.1, 0.9]), drama_and_old, one, 2 * one, 1, every, ~every).tolist()
    [1]
    """
    n, groups = len(relevance), len(members)
    # A place outweighs all relevance that k items can have, an item missing outweighs all places.
    place = k + 1.0
    missing = (k + 1.0) ** 2
    inside = members.astype(np.float64)
    capacity = np.maximum(most, (members & pinned).sum(axis=1))
    # Columns: one for each item, then one for each group, the number missing.
    rules = [
        LinearConstraint(np.append(np.ones(n), np.zeros(groups)), ub=k),
        LinearConstraint(np.hstack([inside, np.zeros((groups, groups))]), ub=capacity),
        LinearConstraint(np.hstack([inside, np.eye(groups)]), lb=least),
    ]
    solved = milp(
        np.append(-(place + relevance), np.full(groups, missing)),
        integrality=np.append(np.ones(n), np.zeros(groups)),
        bounds=Bounds(
            np.append(pinned, np.zeros(groups)).astype(np.float64),
            np.append(usable | pinned, least).astype(np.float64),
        ),
        constraints=rules,
        options={"mip_rel_gap": 0.0},
    )
    # Leaving every free place empty always keeps the rules, so there is a solution.
    return np.flatnonzero(solved.x[:n] > 0.5).astype(np.int64)
