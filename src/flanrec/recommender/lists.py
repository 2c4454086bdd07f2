"""Lists of items of several users, and what may not be in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


def filled(shape: tuple[int, int], parts: Iterable[tuple[slice, Ints, NDArray[Any]]]) -> tuple[Ints, Floats]:
    """Lists of parts of the users as those of all: items int64 and scores float32 of the shape [n_users, k]."""
    items = np.full(shape, -1, dtype=np.int64)
    scores = np.full(shape, -np.inf, dtype=np.float32)
    for part, found, values in parts:
        items[part], scores[part] = found, values
    return items, scores


def closed_items(
    shape: tuple[int, ...], excluded: Sequence[Ints] | None, allowed: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """Which items may not come: bool of the shape [n_users, n_items].

    Parameters
    ----------
    excluded
        Of each user.
    allowed
        bool [n_items], what alone may come; None for everything.
    """
    closed = np.zeros(shape, dtype=bool)
    if allowed is not None:
        closed[:, ~allowed] = True
    for row, items in enumerate(excluded or ()):
        closed[row, items] = True
    return closed
