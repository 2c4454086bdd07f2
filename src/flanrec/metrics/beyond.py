"""What accuracy does not see: how much of the catalogue is used, how obvious lists are, whether they are well-formed.

``ranked`` is ``int[n_users, k]`` catalogue indices with -1 for an empty slot, ``popularity`` is ``[n_items]``, the
number of interactions of each item in the *training* data. Functions that describe one list return
``float64[n_users]`` with NaN for lists they say nothing about; functions that describe all lists together return one
number.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from flanrec.errors import DataError
from flanrec.metrics.lists import (
    EMPTY,
    BoolArray,
    FloatArray,
    IntegerArray,
    ItemLists,
    check_lists,
    check_ranked,
    repeated,
    users_of,
)

_Counts = npt.NDArray[np.number[Any]]

DEFINITIONS = MappingProxyType(
    {
        "coverage": "share of the catalogue that is in at least one list",
        "gini": "Gini index of how often each catalogue item is recommended: 0 all equally often, near 1 only a few",
        "novelty": "mean of -log2 p(item) over a list, in bits; p = (interactions + 1) / (all interactions + items)",
        "popularity_bias": "mean over users of the mean popularity of the list / the same of the history; 1 is no bias",
        "valid_rate": "share of generated slots that hold a catalogue item",
        "duplicate_rate": "share of the filled slots that repeat an item from further up in the same list",
        "category_share": "share of the filled slots whose item is in the category",
    }
)


def recommended_counts(ranked: IntegerArray, n_items: int) -> npt.NDArray[np.int64]:
    """Return how many slots each catalogue item fills, ``int64[n_items]``."""
    ranked = check_ranked(ranked, n_items)
    return np.bincount(ranked[ranked != EMPTY], minlength=n_items).astype(np.int64)


def coverage(ranked: IntegerArray, n_items: int) -> float:
    """Return the share of the catalogue that appears in at least one list; NaN for an empty catalogue.

    Examples
    --------
    >>> coverage(np.array([[0, 1], [1, -1]]), n_items=4)
    0.5
    """
    counts = recommended_counts(ranked, n_items)
    return float(np.count_nonzero(counts) / n_items) if n_items else float("nan")


def gini(ranked: IntegerArray, n_items: int) -> float:
    """Return the Gini index of the recommendation counts over the whole catalogue; NaN when nothing is recommended.

    0 when every item is recommended equally often, ``1 - 1/n_items`` when a single item fills every slot.

    Examples
    --------
    >>> gini(np.array([[0, 1], [2, 3]]), n_items=4), gini(np.array([[0], [0]]), n_items=4)
    (0.0, 0.75)
    """
    counts = np.sort(recommended_counts(ranked, n_items)).astype(np.float64)
    total = counts.sum()
    if total == 0:
        return float("nan")
    weights = 2.0 * np.arange(1, n_items + 1) - n_items - 1.0
    return float(weights @ counts / (n_items * total))


def novelty(ranked: IntegerArray, popularity: _Counts) -> FloatArray:
    """Return the mean self-information of each list, in bits; NaN for an empty list.

    The probability of an item is its share of the training interactions with one added to every item, so that an item
    nobody has touched is very novel rather than infinitely so.

    References
    ----------
    Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems", PNAS 2010.
    """
    counts = _popularity(popularity)
    bits = np.log2(counts.sum() + len(counts)) - np.log2(counts + 1.0)
    return _mean_over_filled(check_ranked(ranked, len(counts)), bits)


def mean_popularity(ranked: IntegerArray, popularity: _Counts) -> FloatArray:
    """Return the mean number of training interactions of the items in each list; NaN for an empty list."""
    counts = _popularity(popularity)
    return _mean_over_filled(check_ranked(ranked, len(counts)), counts)


def history_popularity(history: ItemLists, popularity: _Counts) -> FloatArray:
    """Return the mean number of training interactions of the items in each history; NaN for an empty history."""
    counts = _popularity(popularity)
    n_users = len(history.offsets) - 1
    check_lists(history, n_users, "histories")
    if len(history.items) and int(np.max(history.items)) >= len(counts):
        raise DataError(f"histories name item {int(np.max(history.items))}, but popularity covers {len(counts)} items")
    sums = np.bincount(users_of(history), weights=counts[history.items], minlength=n_users)
    return _ratio(sums, np.diff(history.offsets))


def popularity_bias(ranked: IntegerArray, history: ItemLists, popularity: _Counts) -> float:
    """Return how much more popular the recommended items are than those in the same users' histories.

    The mean of `mean_popularity` divided by the mean of `history_popularity`, over the users for whom both are
    defined: 1 is no bias, 2 is lists of items twice as popular as what the users chose; NaN when there is no such user.

    References
    ----------
    Abdollahpouri et al., "The unfairness of popularity bias in recommendation", RMSE at RecSys 2019 (their lift is
    this number minus 1).

    Examples
    --------
    >>> from flanrec.metrics.lists import UserItems
    >>> popularity_bias(np.array([[0, 1]]), UserItems.from_lists([[1, 2]]), np.array([6, 2, 2]))
    2.0
    """
    check_lists(history, len(check_ranked(ranked)), "histories")
    given, had = mean_popularity(ranked, popularity), history_popularity(history, popularity)
    both = np.isfinite(given) & np.isfinite(had)
    if not both.any() or had[both].sum() == 0:
        return float("nan")
    return float(given[both].mean() / had[both].mean())


def valid_rate(generated: IntegerArray, n_items: int) -> FloatArray:
    """Return the share of slots of each raw generated list that hold a catalogue item.

    ``generated`` has -1 where the generated text was no title of the catalogue, or nothing was generated.
    """
    generated = check_ranked(generated, n_items)
    return _ratio((generated != EMPTY).sum(axis=1), np.full(len(generated), generated.shape[1]))


def duplicate_rate(ranked: IntegerArray) -> FloatArray:
    """Return the share of the filled slots of each list that repeat an item; NaN for an empty list.

    Examples
    --------
    >>> duplicate_rate(np.array([[3, 3, 3, 5], [1, 2, -1, -1]])).tolist()
    [0.5, 0.0]
    """
    ranked = check_ranked(ranked)
    return _ratio(repeated(ranked).sum(axis=1), (ranked != EMPTY).sum(axis=1))


def category_share(ranked: IntegerArray, members: BoolArray) -> FloatArray:
    """Return the share of the filled slots of each list whose item is in a category; NaN for an empty list.

    Parameters
    ----------
    members
        ``bool[n_items]``, True for the items of the category.
    """
    members = np.asarray(members)
    if members.ndim != 1 or members.dtype != np.bool_:
        raise DataError(f"members must be bool[n_items], got {members.dtype} of shape {members.shape}")
    return _mean_over_filled(check_ranked(ranked, len(members)), members.astype(np.float64))


def _popularity(popularity: _Counts) -> FloatArray:
    counts = np.asarray(popularity, dtype=np.float64)
    if counts.ndim != 1 or not bool(np.all(np.isfinite(counts))) or bool(np.any(counts < 0)):
        raise DataError("popularity must be one non-negative finite number for each catalogue item")
    return counts


def _mean_over_filled(ranked: IntegerArray, values: FloatArray) -> FloatArray:
    filled = ranked != EMPTY
    sums = np.where(filled, np.append(values, 0.0)[ranked], 0.0).sum(axis=1)
    return _ratio(sums, filled.sum(axis=1))


def _ratio(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> FloatArray:
    result = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=result, where=denominator > 0)
    return result
