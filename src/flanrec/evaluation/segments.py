"""Groups of users that are looked at apart: by how often the item they took was seen, and by how much they did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flanrec.metrics import UserItems

HEAD, MIDDLE = 0.5, 0.8
FEW_EVENTS = 30

DEFINITIONS = {
    "head": f"the held-out item is among the most-met items that hold the first {HEAD:.0%} of the training events",
    "middle": f"the held-out item is among the next items, up to {MIDDLE:.0%} of the training events",
    "tail": "the held-out item is among all others, those that training never met included",
    f"< {FEW_EVENTS} events": f"the user has fewer than {FEW_EVENTS} events when asking",
    f"≥ {FEW_EVENTS} events": f"the user has {FEW_EVENTS} events or more when asking",
}
"""Each segment in words. A user with several held-out items belongs where the first of them does."""


def popularity_thirds(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Put items into head (0), middle (1) and tail (2) by the share of events that more-met items hold.

    Items are taken by falling count, equal ones in the order of the catalogue. An item is of the head while the items
    before it hold less than half of all events, of the middle while they hold less than 80 %.

    Parameters
    ----------
    counts
        int64 [n_items], training events of each item.

    Returns
    -------
    int64 [n_items]
        An item without events is of the tail.

    Examples
    --------
    >>> popularity_thirds(np.array([2, 5, 3, 0])).tolist()
    [2, 0, 1, 2]
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    part = np.searchsorted(np.array([HEAD, MIDDLE]) * counts.sum(), before, side="right")
    part[counts[order] == 0] = 2
    found = np.empty(len(counts), dtype=np.int64)
    found[order] = part
    return found


def segments_of(
    counts: NDArray[np.int64], relevant: UserItems, events: Sequence[int] | NDArray[np.int64]
) -> dict[str, NDArray[np.bool_]]:
    """Which users are in which segment.

    Parameters
    ----------
    counts
        int64 [n_items], training events of each item.
    relevant
        Held-out items of each user, at least one.
    events
        [n_users], events of each user when asking.

    Returns
    -------
    dict
        By the names of `DEFINITIONS`, in their order: bool [n_users].
    """
    part = popularity_thirds(counts)[relevant.items[relevant.offsets[:-1]]]
    few = np.asarray(events) < FEW_EVENTS
    return dict(zip(DEFINITIONS, (part == 0, part == 1, part == 2, few, ~few), strict=True))
