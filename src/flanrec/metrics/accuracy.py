"""Accuracy of ranked lists, one value a user.

All functions take ``ranked`` (``int[n_users, >= k]`` catalogue indices, best first, -1 = empty slot), ``relevant``
(compressed rows, see `flanrec.metrics.lists`) and a cut-off ``k``; all return ``float64[n_users]``. Relevance is
yes or no. What holds for every one of them:

* a user without relevant items has no defined value and gets NaN; `numpy.nanmean` then leaves them out;
* a user with relevant items and an empty list gets 0, and counts;
* an item that a list names twice is a hit at its first place only; relevant items given twice count once;
* a slot that is empty, or filled with something irrelevant, is a miss: lists are not shortened by it.

The definitions, except for the treatment of repeated items, are those of ``trec_eval`` and ``ranx``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from flanrec.errors import SettingsError
from flanrec.metrics.lists import (
    BoolArray,
    FloatArray,
    IntegerArray,
    ItemLists,
    check_lists,
    check_ranked,
    distinct_counts,
    found_in,
    repeated,
)

_Counts = npt.NDArray[np.int64]

DEFINITIONS = MappingProxyType(
    {
        "hit_rate": "1 if at least one of the top k is relevant, else 0",
        "recall": "relevant items in the top k / all relevant items of the user",
        "precision": "relevant items in the top k / k, also when the list is shorter than k",
        "ndcg": "sum of 1/log2(rank+1) over relevant items in the top k / the same sum for the best possible top k",
        "mrr": "1 / rank of the first relevant item in the top k, 0 if there is none",
        "map": "sum of precision at the rank of each relevant item in the top k / all relevant items of the user",
    }
)


def hits(ranked: IntegerArray, relevant: ItemLists, k: int) -> BoolArray:
    """Return ``bool[n_users, k]``: the slot holds a relevant item for the first time in its list.

    Raises
    ------
    SettingsError
        When k is below 1 or beyond the width of `ranked`.
    DataError
        When `ranked` is not an integer matrix or has other users than `relevant`.
    """
    ranked = check_ranked(ranked)
    if not 1 <= k <= ranked.shape[1]:
        raise SettingsError(f"k must be between 1 and the {ranked.shape[1]} ranks of the lists, got {k}; rank more")
    check_lists(relevant, len(ranked), "relevant items")
    top = ranked[:, :k]
    return found_in(top, relevant) & ~repeated(top)


def hit_rate(ranked: IntegerArray, relevant: ItemLists, k: int) -> FloatArray:
    """Return 1 for users with a relevant item in the top k, else 0.

    Examples
    --------
    >>> from flanrec.metrics.lists import UserItems
    >>> ranked = np.array([[5, 2, 9], [1, 0, 4], [3, 6, 8]])
    >>> hit_rate(ranked, UserItems.from_lists([[9], [7], []]), k=3).tolist()
    [1.0, 0.0, nan]
    """
    return _hit_rate(hits(ranked, relevant, k), distinct_counts(relevant))


def recall(ranked: IntegerArray, relevant: ItemLists, k: int) -> FloatArray:
    """Return the share of a user's relevant items that are in the top k."""
    return _recall(hits(ranked, relevant, k), distinct_counts(relevant))


def precision(ranked: IntegerArray, relevant: ItemLists, k: int) -> FloatArray:
    """Return the share of the k slots that hold a relevant item; empty slots are misses."""
    return _precision(hits(ranked, relevant, k), distinct_counts(relevant))


def ndcg(ranked: IntegerArray, relevant: ItemLists, k: int) -> FloatArray:
    """Return the normalised discounted cumulative gain with yes/no gains and the discount 1 / log2(rank + 1).

    The ideal list has min(k, number of relevant items) hits at its top.

    References
    ----------
    Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002.

    Examples
    --------
    >>> from flanrec.metrics.lists import UserItems
    >>> ndcg(np.array([[5, 2, 9]]), UserItems.from_lists([[9]]), k=3).tolist()
    [0.5]
    """
    return _ndcg(hits(ranked, relevant, k), distinct_counts(relevant))


def reciprocal_rank(ranked: IntegerArray, relevant: ItemLists, k: int) -> FloatArray:
    """Return 1 / rank of the first relevant item in the top k, 0 when there is none; its mean is the MRR."""
    return _reciprocal_rank(hits(ranked, relevant, k), distinct_counts(relevant))


def average_precision(ranked: IntegerArray, relevant: ItemLists, k: int) -> FloatArray:
    """Return the precision at the rank of every hit in the top k, summed and divided by all relevant items.

    Its mean is MAP. With more than k relevant items even a perfect list stays below 1; some libraries divide by
    min(k, number of relevant items) instead. With one relevant item a user, as in leave-one-out, both are the same.
    """
    return _average_precision(hits(ranked, relevant, k), distinct_counts(relevant))


def accuracy_at(ranked: IntegerArray, relevant: ItemLists, ks: Iterable[int]) -> dict[str, FloatArray]:
    """Return every accuracy metric at every cut-off, matching lists against relevant items only once.

    Returns
    -------
    dict
        ``"ndcg@10"`` and the like to ``float64[n_users]``, metric by metric in the order of `DEFINITIONS`.
    """
    cut_offs = sorted(set(ks))
    if not cut_offs:
        raise SettingsError("no cut-off k was given; give at least one, such as 10")
    if cut_offs[0] < 1:
        raise SettingsError(f"k must be at least 1, got {cut_offs[0]}")
    found = hits(ranked, relevant, cut_offs[-1])
    counts = distinct_counts(relevant)
    return {f"{name}@{k}": metric(found[:, :k], counts) for name, metric in _METRICS.items() for k in cut_offs}


def _defined(values: npt.ArrayLike, counts: _Counts) -> FloatArray:
    return np.where(counts > 0, np.asarray(values, dtype=np.float64), np.nan)


def _hit_rate(found: BoolArray, counts: _Counts) -> FloatArray:
    return _defined(found.any(axis=1), counts)


def _recall(found: BoolArray, counts: _Counts) -> FloatArray:
    return _defined(found.sum(axis=1) / np.maximum(counts, 1), counts)


def _precision(found: BoolArray, counts: _Counts) -> FloatArray:
    return _defined(found.sum(axis=1) / found.shape[1], counts)


def _ndcg(found: BoolArray, counts: _Counts) -> FloatArray:
    k = found.shape[1]
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    # Both sums run from the top in the same order, so that a perfect list is exactly 1.
    gained = np.cumsum(found * discounts, axis=1)[:, -1]
    best = np.cumsum(discounts)[np.clip(counts, 1, k) - 1]
    return _defined(gained / best, counts)


def _reciprocal_rank(found: BoolArray, counts: _Counts) -> FloatArray:
    return _defined(np.where(found.any(axis=1), 1.0 / (found.argmax(axis=1) + 1), 0.0), counts)


def _average_precision(found: BoolArray, counts: _Counts) -> FloatArray:
    precisions = np.cumsum(found, axis=1) / np.arange(1, found.shape[1] + 1)
    return _defined((precisions * found).sum(axis=1) / np.maximum(counts, 1), counts)


_METRICS: dict[str, Callable[[BoolArray, _Counts], FloatArray]] = {
    "hit_rate": _hit_rate,
    "recall": _recall,
    "precision": _precision,
    "ndcg": _ndcg,
    "mrr": _reciprocal_rank,
    "map": _average_precision,
}
