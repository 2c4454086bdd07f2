"""From raw lists of items to lists that may be shown: no duplicates, nothing seen or barred, ranked.

Everything works on rectangular arrays: ``items`` int64[n_users, n] of catalogue indices with -1 for
no item, and ``scores`` float[n_users, n]. A removed entry becomes -1 with score -inf; :func:`ranked`
closes the gaps. So the steps compose, and lists of unequal length need no ragged type.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flanrec.errors import DataError

Items = NDArray[np.int64]
Scores = NDArray[Any]
NO_ITEM = -1


def without_duplicates(items: Items, scores: Scores) -> tuple[Items, Scores]:
    """Keep each item once a user, where its score is highest; of equal scores the first stands.

    Examples
    --------
    >>> without_duplicates(np.array([[4, 7, 4]]), np.array([[0.1, 0.2, 0.3]]))
    (array([[-1,  7,  4]]), array([[-inf,  0.2,  0.3]]))
    """
    _check(items, scores)
    user, column = np.indices(items.shape).reshape(2, -1)
    order = np.lexsort((column, -scores.ravel(), items.ravel(), user))
    sorted_items, sorted_users = items.ravel()[order], user[order]
    again = np.zeros(items.size, dtype=bool)
    again[order[1:]] = (sorted_items[1:] == sorted_items[:-1]) & (sorted_users[1:] == sorted_users[:-1])
    return _drop(items, scores, again.reshape(items.shape))


def without_excluded(items: Items, scores: Scores, excluded: Sequence[Collection[int]]) -> tuple[Items, Scores]:
    """Drop what each user must not get, such as seen items.

    Parameters
    ----------
    excluded : one collection of catalogue indices a user
    """
    return _drop(items, scores, _among(items, scores, excluded))


def only_allowed(items: Items, scores: Scores, allowed: Sequence[Collection[int]]) -> tuple[Items, Scores]:
    """Drop whatever is not on each user's own whitelist."""
    return _drop(items, scores, ~_among(items, scores, allowed))


def without_blacklist(items: Items, scores: Scores, blacklist: Collection[int]) -> tuple[Items, Scores]:
    """Drop what no user may get."""
    _check(items, scores)
    return _drop(items, scores, np.isin(items, np.fromiter(blacklist, dtype=np.int64, count=len(blacklist))))


def only_whitelist(items: Items, scores: Scores, whitelist: Collection[int]) -> tuple[Items, Scores]:
    """Drop whatever is not on the whitelist of all users."""
    _check(items, scores)
    return _drop(items, scores, ~np.isin(items, np.fromiter(whitelist, dtype=np.int64, count=len(whitelist))))


def ranked(items: Items, scores: Scores, k: int) -> tuple[Items, Scores]:
    """The ``k`` best of each user, best first.

    Equal scores come in catalogue order, the lower index first. An item whose score is not finite is
    no recommendation. Rows with fewer than ``k`` items end in -1 with score -inf.

    Returns
    -------
    items : int64[n_users, k]
    scores : [n_users, k], of the type that came in
    """
    _check(items, scores)
    items, scores = _drop(items, scores, ~np.isfinite(scores))
    order = np.lexsort((items, -scores), axis=-1)[:, :k]
    best = np.full((len(items), k), NO_ITEM, dtype=np.int64)
    best_scores = np.full((len(items), k), -np.inf, dtype=scores.dtype)
    best[:, : order.shape[1]] = np.take_along_axis(items, order, axis=1)
    best_scores[:, : order.shape[1]] = np.take_along_axis(scores, order, axis=1)
    return best, best_scores


def postprocess(
    items: Items,
    scores: Scores,
    k: int,
    *,
    seen: Sequence[Collection[int]] | None = None,
    whitelist: Collection[int] | None = None,
    blacklist: Collection[int] | None = None,
) -> tuple[Items, Scores]:
    """All steps in order: what is barred goes, duplicates go, the rest is ranked.

    Parameters
    ----------
    items, scores : [n_users, n]
    k : int
        Items a user.
    seen : one collection of catalogue indices a user, optional
    whitelist, blacklist : catalogue indices for all users, optional
        An empty whitelist allows nothing; None allows all.

    Returns
    -------
    items : int64[n_users, k]
    scores : [n_users, k]

    Raises
    ------
    DataError
        If the arrays do not fit each other or ``seen`` has another number of users.
    """
    if seen is not None:
        items, scores = without_excluded(items, scores, seen)
    if whitelist is not None:
        items, scores = only_whitelist(items, scores, whitelist)
    if blacklist is not None:
        items, scores = without_blacklist(items, scores, blacklist)
    return ranked(*without_duplicates(items, scores), k)


def _drop(items: Items, scores: Scores, dropped: NDArray[np.bool_]) -> tuple[Items, Scores]:
    dropped = dropped | (items == NO_ITEM)
    return np.where(dropped, NO_ITEM, items), np.where(dropped, np.array(-np.inf, dtype=scores.dtype), scores)


def _among(items: Items, scores: Scores, sets: Sequence[Collection[int]]) -> NDArray[np.bool_]:
    _check(items, scores)
    if len(sets) != len(items):
        raise DataError(f"there are lists for {len(items)} users but item sets for {len(sets)}; give one a user")
    users = np.repeat(np.arange(len(sets)), [len(each) for each in sets])
    flat = np.fromiter((item for each in sets for item in each), dtype=np.int64, count=len(users))
    span = max(int(items.max(initial=0)), int(flat.max(initial=0))) + 1
    known = (flat >= 0) & (flat < span)
    return np.isin(items + np.arange(len(items))[:, None] * span, (users * span + flat)[known]) & (items >= 0)


def _check(items: Items, scores: Scores) -> None:
    if items.ndim != 2 or items.shape != scores.shape:
        raise DataError(f"items {items.shape} and scores {scores.shape} must be matrices of one shape, a row a user")
