"""From scores of the whole catalogue to ranked lists, with one tie rule everywhere."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from flanrec.errors import DataError, SettingsError
from flanrec.metrics.lists import EMPTY, BoolArray, ItemLists, check_lists

TIE_RULE = "equal scores: the item that comes first in the catalogue ranks first"
"""The tie rule in words, printed with every report."""

_CHUNK = 8_000_000


class TopK(NamedTuple):
    """Ranked lists: ``items`` int64[n_users, k] with -1 for an empty slot, ``scores`` alike with -inf there."""

    items: npt.NDArray[np.int64]
    scores: npt.NDArray[np.floating[Any]]


def top_k(scores: npt.ArrayLike, k: int, exclude: ItemLists | BoolArray | None = None) -> TopK:
    """Return the k best items of each user, best first; equal scores by rising catalogue index.

    The order depends on the scores alone: not on k, not on how users are batched. An item whose score is not finite
    (NaN, +inf or -inf) is never recommended, so -inf is a way to rule an item out.

    Parameters
    ----------
    scores
        ``float[n_users, n_items]``, left unchanged.
    k
        Length of the lists. Beyond the number of items left, slots are empty.
    exclude
        Items not to recommend: compressed rows for the same users, or a mask ``bool[n_items]`` for all users or
        ``bool[n_users, n_items]``, True where an item is excluded.

    Raises
    ------
    SettingsError
        When k is below 1.
    DataError
        When shapes do not fit, or `exclude` names an item outside the catalogue.

    Examples
    --------
    >>> lists = top_k([[0.5, 0.9, 0.5, 0.1]], k=3, exclude=np.array([False, True, False, False]))
    >>> lists.items.tolist(), lists.scores.tolist()
    ([[0, 2, 3]], [[0.5, 0.5, 0.1]])
    """
    if k < 1:
        raise SettingsError(f"k must be at least 1, got {k}")
    given = np.asarray(scores)
    if given.ndim != 2:
        raise DataError(f"scores must be a matrix [n_users, n_items], got shape {given.shape}")
    dtype = given.dtype if given.dtype in (np.dtype(np.float32), np.dtype(np.float64)) else np.dtype(np.float64)
    n_users, n_items = given.shape
    mask = _mask(exclude, n_users, n_items)
    items = np.full((n_users, k), EMPTY, dtype=np.int64)
    best = np.full((n_users, k), -np.inf, dtype=dtype)
    width = min(k, n_items)
    step = max(1, _CHUNK // max(n_items, 1))
    for start in range(0, n_users if width else 0, step):
        block = given[start : start + step].astype(dtype, copy=True)
        block[~np.isfinite(block)] = -np.inf
        _rule_out(block, start, exclude, mask)
        chosen = _best(block, width)
        values = np.take_along_axis(block, chosen, axis=1)
        chosen[values == -np.inf] = EMPTY
        items[start : start + step, :width] = chosen
        best[start : start + step, :width] = values
    return TopK(items, best)


def _best(scores: npt.NDArray[np.floating[Any]], k: int) -> npt.NDArray[np.int64]:
    n_items = scores.shape[1]
    if k < n_items:
        chosen = np.argpartition(scores, n_items - k, axis=1)[:, n_items - k :]
        threshold = np.take_along_axis(scores, chosen, axis=1).min(axis=1, keepdims=True)
        # A partition takes any of the items that tie at the last place: choose again where there are several.
        tied = np.flatnonzero(((scores >= threshold).sum(axis=1) > k) & (threshold[:, 0] > -np.inf))
        if len(tied):
            rows, edge = scores[tied], threshold[tied]
            above, level = rows > edge, rows == edge
            room = k - above.sum(axis=1, keepdims=True)
            keep = above | (level & (np.cumsum(level, axis=1) <= room))
            chosen[tied] = np.nonzero(keep)[1].reshape(len(tied), k)
        chosen.sort(axis=1)
    else:
        chosen = np.tile(np.arange(n_items, dtype=np.int64), (len(scores), 1))
    order = np.argsort(-np.take_along_axis(scores, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)


def _mask(exclude: ItemLists | BoolArray | None, n_users: int, n_items: int) -> BoolArray | None:
    if exclude is None:
        return None
    if not isinstance(exclude, np.ndarray):
        check_lists(exclude, n_users, "excluded items")
        if len(exclude.items) and int(np.max(exclude.items)) >= n_items:
            raise DataError(f"excluded item {int(np.max(exclude.items))} is outside the catalogue of {n_items} items")
        return None
    if exclude.dtype != np.bool_ or exclude.shape not in ((n_items,), (n_users, n_items)):
        raise DataError(
            f"an exclusion mask must be bool[{n_items}] or bool[{n_users}, {n_items}], "
            f"got {exclude.dtype} of shape {exclude.shape}"
        )
    return exclude


def _rule_out(
    block: npt.NDArray[np.floating[Any]], start: int, exclude: ItemLists | BoolArray | None, mask: BoolArray | None
) -> None:
    if mask is not None:
        block[np.broadcast_to(mask if mask.ndim == 1 else mask[start : start + len(block)], block.shape)] = -np.inf
    elif exclude is not None and not isinstance(exclude, np.ndarray):
        low, high = exclude.offsets[start], exclude.offsets[start + len(block)]
        users = np.repeat(np.arange(len(block)), np.diff(exclude.offsets[start : start + len(block) + 1]))
        block[users, exclude.items[low:high]] = -np.inf
