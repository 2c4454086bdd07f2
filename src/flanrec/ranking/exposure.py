"""Who gets shown: a share for the long tail, a bonus for what is fresh, least and most of a group.

Quotas decide which items are in a list; the order within it stays that of the scores. A *most* is never exceeded, the
list rather stays shorter. A *least* that cannot be met is met as far as possible, and `shortfalls` says for whom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from flanrec.errors import DataError, SettingsError
from flanrec.metrics.lists import EMPTY, BoolArray, FloatArray, IntegerArray, check_ranked
from flanrec.ranking.best_set import best_set
from flanrec.ranking.diversity import items_at
from flanrec.ranking.greedy import LimitsMaker, Positions, select

HEAD_SHARE = 0.8
"""Share of the events that makes an item part of the head."""


@dataclass(frozen=True, eq=False)
class Quotas:
    """Least and most items of each group in a list.

    Parameters
    ----------
    names
        Of the groups, for messages.
    members
        ``bool[n_groups, n_items]``; an item may be in several groups.
    least, most
        ``int64[n_groups]``; 0 and a number of at least k are no limit.
    """

    names: tuple[str, ...]
    members: BoolArray
    least: npt.NDArray[np.int64]
    most: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        shapes = (len(self.members), len(self.least), len(self.most))
        if self.members.ndim != 2 or shapes != (len(self.names),) * 3:
            raise DataError(f"{len(self.names)} groups need as many rows of members, least and most; got {shapes}")
        for name, least, most in zip(self.names, self.least.tolist(), self.most.tolist(), strict=True):
            if not 0 <= least <= most:
                raise SettingsError(f"quota {name}: least {least} and most {most} must be 0 <= least <= most")

    def with_group(self, name: str, members: BoolArray, least: int, most: int) -> Quotas:
        """Return these quotas and one more."""
        return Quotas(
            (*self.names, name),
            np.vstack([self.members, members[None, :]]),
            np.append(self.least, least),
            np.append(self.most, most),
        )

    @classmethod
    def none(cls, n_items: int) -> Quotas:
        """Return no quotas at all."""
        empty = np.zeros(0, dtype=np.int64)
        return cls((), np.zeros((0, n_items), dtype=np.bool_), empty, empty)


def head_items(popularity: npt.NDArray[np.number[Any]], share: float = HEAD_SHARE) -> BoolArray:
    """Return ``bool[n_items]``: the smallest set of items that has this share of the events.

    Of equally popular items those first in the catalogue belong to it first. Without events there is no head.

    Examples
    --------
    >>> head_items(np.array([1, 6, 2, 1])).tolist()
    [False, True, True, False]
    """
    if not 0 <= share <= 1:
        raise SettingsError(f"the head's share of the events must be between 0 and 1, got {share}")
    counts = np.asarray(popularity, dtype=np.float64)
    order = np.argsort(-counts, kind="stable")
    sums = np.cumsum(counts[order])
    total = sums[-1] if len(sums) else 0.0
    head = np.zeros(len(counts), dtype=np.bool_)
    # An item is needed as long as those before it have too few events; the margin is for rounding of the product.
    head[order[(sums - counts[order]) < share * total * (1.0 - 1e-12)]] = True
    return head


def freshness(age_days: FloatArray, half_life_days: float) -> FloatArray:
    """Return 1 for an item of today, 0.5 after a half-life, and so on; 0 where the age is unknown (NaN).

    Examples
    --------
    >>> freshness(np.array([0.0, 30.0, 60.0, np.nan]), half_life_days=30).tolist()
    [1.0, 0.5, 0.25, 0.0]
    """
    if not half_life_days > 0:
        raise SettingsError(f"half_life_days must be above 0, got {half_life_days}")
    ages = np.asarray(age_days, dtype=np.float64)
    return np.where(np.isnan(ages), 0.0, 0.5 ** (np.maximum(np.nan_to_num(ages), 0.0) / half_life_days))


def long_tail_least(share: float, k: int) -> int:
    """Return how many of k items must be of the tail: the share, rounded up."""
    if not 0 <= share <= 1:
        raise SettingsError(f"the long tail's share must be between 0 and 1, got {share}")
    return math.ceil(share * k - 1e-9)


def long_tail(
    scores: npt.NDArray[np.floating[Any]], candidates: IntegerArray, tail: BoolArray, k: int, share: float = 0.3
) -> Positions:
    """Return lists ``int64[n_users, k]`` with at least this share of k from the tail, where candidates allow it.

    Parameters
    ----------
    tail
        ``bool[n_items]``, usually ``~head_items(popularity)``.
    """
    quotas = Quotas.none(len(tail)).with_group("long_tail", tail, long_tail_least(share, k), k)
    return within_quotas(scores, candidates, quotas, k)


def within_quotas(scores: npt.NDArray[np.floating[Any]], candidates: IntegerArray, quotas: Quotas, k: int) -> Positions:
    """Return lists ``int64[n_users, k]`` that keep the quotas as nearly as the candidates allow.

    Fewest items missing from a *least* come first, then fewest empty ranks. Where no item is in two groups a greedy
    choice attains that and the best relevance; else lists that the greedy choice leaves short are solved exactly.
    """
    chosen = select(candidates, scores, k, limits=quota_limits(quotas), cell=max(1, len(quotas.names)))
    return items_at(candidates, chosen)


def quota_limits(quotas: Quotas) -> LimitsMaker:
    """Return quotas as limits for `flanrec.ranking.greedy.select`."""
    return lambda candidates: _Counts(candidates, quotas)


def shortfalls(ranked: IntegerArray, quotas: Quotas) -> npt.NDArray[np.int64]:
    """Return ``int64[n_users, n_groups]``: how many items a list has below the least (-) or above the most (+)."""
    ranked = check_ranked(ranked, quotas.members.shape[1])
    inside = quotas.members[:, np.maximum(ranked, 0)] & (ranked != EMPTY)
    counts = inside.sum(axis=2).T.astype(np.int64)
    return np.asarray(np.minimum(counts - quotas.least, 0) + np.maximum(counts - quotas.most, 0))


class _Counts:
    """How many items of each group each list of a block has."""

    def __init__(self, candidates: IntegerArray, quotas: Quotas) -> None:
        known = quotas.members[:, np.maximum(candidates, 0)] & (np.asarray(candidates) != EMPTY)
        self._members = known.transpose(1, 2, 0)
        self._least, self._most = quotas.least, quotas.most
        self._overlap = bool((quotas.members.sum(axis=0) > 1).any())
        self._counts = np.zeros((len(candidates), len(quotas.names)), dtype=np.int64)

    def reserve(self, chosen: Positions) -> None:
        for column in chosen.T:
            self.take(column)

    def take(self, chosen: Positions) -> None:
        got = np.flatnonzero(chosen != EMPTY)
        self._counts[got] += self._members[got, chosen[got]]

    def allowed(self, left: BoolArray, slots: Positions) -> BoolArray:
        full = self._counts >= self._most
        possible = left & ~(self._members & full[:, None, :]).any(axis=2)
        # What a group no longer has among the candidates cannot be saved by keeping ranks for it.
        there = (self._members & possible[:, :, None]).sum(axis=1)
        missing = np.minimum(np.maximum(self._least - self._counts, 0), there)
        helps = (self._members & (missing > 0)[:, None, :]).sum(axis=2)
        needed = np.minimum(missing.sum(axis=1) - slots + 1, np.where(possible, helps, 0).max(axis=1, initial=0))
        return np.asarray(possible & (helps >= needed[:, None]))

    def mend(self, chosen: Positions, relevance: FloatArray, left: BoolArray, fixed: Positions | None) -> Positions:
        if not self._overlap:
            return chosen
        missing = np.maximum(self._least - self._counts, 0)
        there = (self._members & left[:, :, None]).sum(axis=1)
        hopeless = np.maximum(self._least - there, 0)
        short = (chosen != EMPTY).sum(axis=1) < np.minimum(left.sum(axis=1), chosen.shape[1])
        chosen = chosen.copy()
        for user in np.flatnonzero((missing > hopeless).any(axis=1) | short):
            pinned = np.zeros(left.shape[1], dtype=np.bool_)
            if fixed is not None:
                pinned[fixed[user][fixed[user] != EMPTY]] = True
            best = best_set(
                relevance[user], self._members[user].T, self._least, self._most, chosen.shape[1], left[user], pinned
            )
            chosen[user] = EMPTY
            chosen[user, : len(best)] = best
        return chosen
