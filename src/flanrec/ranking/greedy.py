"""Lists chosen one item at a time, for all users at once: the loop that every re-ranking shares.

At each rank the item with the largest gain is taken: ``weight * relevance`` plus weighted terms, each of which may
depend on what was taken before. Quotas and pins narrow what may be taken. Ties go to the item with the better score,
then to the one that comes first among the candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from flanrec.errors import DataError, SettingsError
from flanrec.metrics.lists import EMPTY, BoolArray, FloatArray, IntegerArray, check_ranked, repeated

Positions = npt.NDArray[np.int64]
_CELLS = 400_000


class Term(Protocol):
    """One wish about a list as a whole, for a block of users."""

    def gains(self) -> FloatArray:
        """Return what each candidate would add now, finite ``float64[n_users, n_candidates]``."""
        ...

    def take(self, chosen: Positions) -> None:
        """Note the position taken by each user, ``int64[n_users]``, -1 for a user whose list has run out."""
        ...


class Limits(Protocol):
    """What may be taken at all, for a block of users."""

    def reserve(self, chosen: Positions) -> None:
        """Count positions that will be taken for certain, such as pins, ``int64[n_users, m]`` with -1 for none."""
        ...

    def allowed(self, left: BoolArray, slots: Positions) -> BoolArray:
        """Return the candidates of ``left`` that may be taken with so many free ranks to go, ``int64[n_users]``."""
        ...

    def take(self, chosen: Positions) -> None:
        """Note the position taken by each user, -1 for none."""
        ...

    def mend(self, chosen: Positions, relevance: FloatArray, left: BoolArray, fixed: Positions | None) -> Positions:
        """Return the same lists, or better sets for users whose list breaks a limit without need."""
        ...


TermMaker = Callable[[IntegerArray, Positions], Term]
"""Makes a term from ``candidates[n_users, n_candidates]`` and the row numbers of these users."""
LimitsMaker = Callable[[IntegerArray], Limits]


def select(
    candidates: IntegerArray,
    scores: npt.NDArray[np.floating[Any]],
    k: int,
    *,
    weight: float = 1.0,
    terms: Sequence[tuple[float, TermMaker]] = (),
    limits: LimitsMaker | None = None,
    pins: IntegerArray | None = None,
    cell: int = 1,
) -> Positions:
    """Return the positions among the candidates of the k items chosen, ``int64[n_users, k]``, -1 where none is left.

    Parameters
    ----------
    candidates
        ``int[n_users, n_candidates]`` catalogue indices, -1 for none; an item given twice counts once.
    scores
        ``float[n_users, n_candidates]``; a candidate without a finite score is none. For the gains they are scaled
        to 0 .. 1 within each user's candidates.
    weight, terms
        Weight of the scaled scores, and of each further term; a term of weight 0 is not even made.
    limits
        With limits the gains decide which items of those allowed are in the list, then the order within it.
    pins
        ``int[n_users, k]``: the item that must stand at a rank, -1 for none. Pinned items must be candidates.
    cell
        Numbers held for each candidate; blocks of users are so small that they fit in memory.

    Raises
    ------
    DataError
        When shapes do not fit.
    SettingsError
        When k is below 1.
    """
    candidates = check_ranked(candidates)
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != candidates.shape:
        raise DataError(f"there must be one score a candidate: candidates {candidates.shape}, scores {values.shape}")
    if k < 1:
        raise SettingsError(f"k must be at least 1, got {k}")
    n_users, width = candidates.shape
    result = np.full((n_users, k), EMPTY, dtype=np.int64)
    usable = (candidates != EMPTY) & np.isfinite(values)
    order = np.argsort(np.where(usable, -values, np.inf), axis=1, kind="stable")
    used = [(share, make) for share, make in terms if share != 0]
    step = max(1, _CELLS // max(1, width * cell))
    for start in range(0, n_users if width else 0, step):
        rows = np.arange(start, min(start + step, n_users), dtype=np.int64)
        turn = order[rows]
        items = np.take_along_axis(candidates[rows], turn, axis=1).astype(np.int64)
        left = np.take_along_axis(usable[rows], turn, axis=1)
        items[~left] = EMPTY
        left &= ~repeated(items)
        relevance = scaled(np.take_along_axis(values[rows], turn, axis=1), left)
        fixed = None if pins is None else _places(items, left, pins[rows])
        if not used and limits is None and fixed is None:
            chosen = _first(left, k)
        else:
            chosen = _block(items, relevance, left, rows, k, weight, used, limits, fixed)
        result[rows] = np.where(chosen == EMPTY, EMPTY, np.take_along_axis(turn, np.maximum(chosen, 0), axis=1))
    return result


def scaled(scores: FloatArray, valid: BoolArray) -> FloatArray:
    """Return scores as 0 .. 1 between the user's worst and best valid candidate; 0 where they are equal or invalid."""
    # Halves, because the difference of two finite numbers can be infinite.
    halves = np.where(valid, scores, 0.0) / 2.0
    low = np.where(valid, halves, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    high = np.where(valid, halves, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    low, high = np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 0.0)
    spread = high - low
    return np.where(valid, (halves - low) / np.where(spread > 0, spread, 1.0), 0.0)


def _first(left: BoolArray, k: int) -> Positions:
    order = np.argsort(~left, axis=1, kind="stable")[:, :k]
    chosen = np.full((len(left), k), EMPTY, dtype=np.int64)
    chosen[:, : order.shape[1]] = np.where(np.take_along_axis(left, order, axis=1), order, EMPTY)
    return chosen


def _block(
    items: Positions,
    relevance: FloatArray,
    left: BoolArray,
    rows: Positions,
    k: int,
    weight: float,
    terms: Sequence[tuple[float, TermMaker]],
    limits: LimitsMaker | None,
    fixed: Positions | None,
) -> Positions:
    made = [(share, make(items, rows)) for share, make in terms]
    if limits is None:
        return _greedy(relevance, left, k, weight, made, None, fixed)
    guard = limits(items)
    chosen = guard.mend(_greedy(relevance, left, k, weight, made, guard, fixed), relevance, left, fixed)
    # Which items is settled; their order is free again. Places rise with falling scores, and the empty go last.
    places = np.sort(np.where(chosen == EMPTY, items.shape[1], chosen), axis=1)
    filled = places < items.shape[1]
    places = np.where(filled, places, 0)
    few = np.where(filled, np.take_along_axis(items, places, axis=1), EMPTY)
    again = [(share, make(few, rows)) for share, make in terms]
    if fixed is not None:
        same = (places[:, None, :] == fixed[:, :, None]) & filled[:, None, :]
        fixed = np.where(same.any(axis=2), same.argmax(axis=2), EMPTY)
    order = _greedy(np.take_along_axis(relevance, places, axis=1), filled, k, weight, again, None, fixed)
    return np.where(order == EMPTY, EMPTY, np.take_along_axis(places, np.maximum(order, 0), axis=1))


def _greedy(
    relevance: FloatArray,
    left: BoolArray,
    k: int,
    weight: float,
    terms: Sequence[tuple[float, Term]],
    limits: Limits | None,
    fixed: Positions | None,
) -> Positions:
    n_users = len(left)
    chosen = np.full((n_users, k), EMPTY, dtype=np.int64)
    left = left.copy()
    if fixed is not None:
        left &= ~_marked(fixed, left.shape)
        if limits is not None:
            limits.reserve(fixed)
    for rank in range(k):
        pinned = np.full(n_users, EMPTY) if fixed is None else fixed[:, rank]
        open_ = left
        if limits is not None:
            ahead = k - rank if fixed is None else (fixed[:, rank:] == EMPTY).sum(axis=1)
            open_ = left & limits.allowed(left, np.broadcast_to(np.asarray(ahead, dtype=np.int64), (n_users,)))
        gains = weight * relevance
        for share, term in terms:
            gains = gains + share * term.gains()
        best = np.where(open_, gains, -np.inf).argmax(axis=1)
        free = np.where(open_.any(axis=1), best, EMPTY)
        taken = np.where(pinned != EMPTY, pinned, free)
        chosen[:, rank] = taken
        got = np.flatnonzero(taken != EMPTY)
        if len(got) == 0 and fixed is None:
            break
        left[got, taken[got]] = False
        for _, term in terms:
            term.take(taken)
        if limits is not None:
            limits.take(np.where(pinned != EMPTY, EMPTY, taken))
    # A list that runs out before a pin's rank closes up.
    return np.take_along_axis(chosen, np.argsort(chosen == EMPTY, axis=1, kind="stable"), axis=1)


def _places(items: Positions, left: BoolArray, pins: IntegerArray) -> Positions:
    fixed = np.full(pins.shape, EMPTY, dtype=np.int64)
    for rank in np.flatnonzero((pins != EMPTY).any(axis=0)):
        same = (items == pins[:, rank : rank + 1]) & left
        fixed[:, rank] = np.where(same.any(axis=1), same.argmax(axis=1), EMPTY)
    return fixed


def _marked(positions: Positions, shape: tuple[int, ...]) -> BoolArray:
    marked = np.zeros(shape, dtype=np.bool_)
    user, rank = np.nonzero(positions != EMPTY)
    marked[user, positions[user, rank]] = True
    return marked
