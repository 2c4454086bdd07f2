"""Calibrated lists: the mixture of categories of a list follows that of the user's history.

A user with 70 % drama and 30 % comedy gets, by relevance alone, ten dramas. Calibration gives the smaller
interests their share.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from flanrec.errors import DataError, SettingsError
from flanrec.metrics.lists import EMPTY, FloatArray, IntegerArray, ItemLists, check_lists, check_ranked, users_of
from flanrec.ranking.diversity import items_at
from flanrec.ranking.greedy import Positions, Term, TermMaker, select

SMOOTHING = 0.01
"""Share of the history's mixture that is put into the list's, so that a missing category costs much, not infinitely."""

_EVENTS = 4_000_000


def calibrated(
    scores: npt.NDArray[np.floating[Any]],
    candidates: IntegerArray,
    histories: ItemLists,
    shares: FloatArray,
    k: int,
    weight: float = 0.5,
) -> Positions:
    """Return lists ``int64[n_users, k]`` whose categories are near those of the histories.

    At each rank the item comes next that maximises ``(1 - weight) * sum of relevance - weight * KL(history, list)``.
    Users whose history has no categories keep the plain order. Costs k * n_candidates * n_categories a user.

    Parameters
    ----------
    scores, candidates
        ``[n_users, n_candidates]``, catalogue indices with -1 for none.
    shares
        ``float64[n_items, n_categories]``, how an item is shared by its categories; a row sums to 1, or to 0.
    weight
        0 is the plain order, 1 is calibration only.

    References
    ----------
    Steck, "Calibrated recommendations", RecSys 2018, equations 6 and 8, with a uniform weight on history and list.

    Examples
    --------
    >>> from flanrec.metrics import UserItems
    >>> kinds = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    >>> history = UserItems.from_lists([[3, 4]])
    >>> calibrated(np.array([[0.9, 0.8, 0.1]]), np.array([[0, 1, 2]]), history, kinds, k=2, weight=0.9).tolist()
    [[0, 2]]
    """
    if not 0 <= weight <= 1:
        raise SettingsError(f"weight must be between 0 (plain order) and 1 (calibration only), got {weight}")
    term = (weight, taste_term(histories, shares, len(candidates)))
    chosen = select(candidates, scores, k, weight=1.0 - weight, terms=[term], cell=max(1, shares.shape[1]))
    return items_at(candidates, chosen)


def taste_term(histories: ItemLists, shares: FloatArray, n_users: int) -> TermMaker:
    """Return the part of the gain that asks for the history's mixture, for `flanrec.ranking.greedy.select`."""
    wanted = mixture_of_histories(histories, shares, n_users)

    def make(candidates: IntegerArray, rows: Positions) -> Term:
        return _Taste(candidates, wanted[rows], shares)

    return make


def divergence_of_lists(
    ranked: IntegerArray, histories: ItemLists, shares: FloatArray, smoothing: float = SMOOTHING
) -> FloatArray:
    """Return how far each list's categories are from its history's, ``float64[n_users]``.

    This is the Kullback-Leibler divergence in nats: 0 is the same mixture,
    ``-ln(smoothing)`` (4.6) nothing in common. NaN where history or list has no categories.
    """
    ranked = check_ranked(ranked, len(shares))
    wanted = mixture_of_histories(histories, shares, len(ranked))
    sums = (shares[np.maximum(ranked, 0)] * np.not_equal(ranked, EMPTY)[..., None]).sum(axis=1)
    totals = sums.sum(axis=1, keepdims=True)
    asked = wanted > 0
    given = (1.0 - smoothing) * sums / np.where(totals > 0, totals, 1.0) + smoothing * wanted
    terms = wanted * (np.log(np.where(asked, wanted, 1.0)) - np.log(np.where(asked, given, 1.0)))
    # A sum of logarithms can miss zero from below by rounding.
    values = np.maximum(terms.sum(axis=1), 0.0)
    return np.where((totals[:, 0] > 0) & asked.any(axis=1), values, np.nan)


def mixture_of_histories(histories: ItemLists, shares: FloatArray, n_users: int) -> FloatArray:
    """Return the mean category shares of each history, ``float64[n_users, n_categories]``; zeros without categories.

    Raises
    ------
    DataError
        When the histories are those of another number of users, or name an item beyond `shares`.
    """
    check_lists(histories, n_users, "histories")
    if len(histories.items) and int(np.max(histories.items)) >= len(shares):
        raise DataError(f"histories name item {int(np.max(histories.items))}, but there are {len(shares)} items")
    sums = np.zeros((n_users, shares.shape[1]))
    users = users_of(histories)
    step = max(1, _EVENTS // max(1, shares.shape[1]))
    for start in range(0, len(users), step):
        np.add.at(sums, users[start : start + step], shares[histories.items[start : start + step]])
    totals = sums.sum(axis=1, keepdims=True)
    return sums / np.where(totals > 0, totals, 1.0)


class _Taste:
    """Minus the divergence that the list would have with each candidate added."""

    def __init__(self, candidates: IntegerArray, wanted: FloatArray, shares: FloatArray) -> None:
        asked = wanted > 0
        self._wanted = wanted
        self._best = (wanted * np.log(np.where(asked, wanted, 1.0))).sum(axis=1, keepdims=True)
        # 1 where nothing is wanted: its logarithm is then finite, and counts nothing.
        self._floor = np.where(asked, SMOOTHING * wanted, 1.0)[:, None, :]
        self._shares = shares[np.maximum(candidates, 0)] * np.not_equal(candidates, EMPTY)[..., None]
        self._sizes = self._shares.sum(axis=2, keepdims=True)
        self._sums = np.zeros_like(wanted)

    def gains(self) -> FloatArray:
        mixture = self._sums[:, None, :] + self._shares
        totals = self._sums.sum(axis=1)[:, None, None] + self._sizes
        mixture *= (1.0 - SMOOTHING) / np.where(totals > 0, totals, 1.0)
        mixture += self._floor
        np.log(mixture, out=mixture)
        return np.asarray(np.matmul(mixture, self._wanted[:, :, None])[:, :, 0] - self._best)

    def take(self, chosen: Positions) -> None:
        got = np.flatnonzero(chosen != EMPTY)
        self._sums[got] += self._shares[got, chosen[got]]
