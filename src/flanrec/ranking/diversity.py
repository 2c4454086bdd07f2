"""Lists of items that differ: maximal marginal relevance, and the greedy mode of a determinantal point process.

Both weigh relevance (scores scaled to 0 .. 1 within the user's candidates) against likeness by one ``balance``: at 0
the list is the plain order, at 1 relevance only breaks ties. Likeness is the cosine of item vectors, or a function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from flanrec.errors import DataError, SettingsError
from flanrec.metrics.lists import EMPTY, FloatArray, IntegerArray
from flanrec.ranking.greedy import Positions, Term, TermMaker, select

Method = Literal["mmr", "dpp"]
Similarity = Callable[[IntegerArray, IntegerArray], FloatArray]
"""From items ``int[n_users, n]`` and one item a user ``int[n_users]`` to their likeness ``float64[n_users, n]``.

An index of -1 may get any number. For `dpp` it must be a positive semidefinite kernel with 1 on its diagonal.
"""

_LEAST_VOLUME = 1e-6


def cosine(vectors: npt.NDArray[np.floating[Any]]) -> Similarity:
    """Return the cosine of item vectors ``float[n_items, d]`` as a function; a vector of zeros is like nothing.

    Raises
    ------
    DataError
        When the vectors are no finite matrix.
    """
    given = np.asarray(vectors)
    if given.ndim != 2 or not np.all(np.isfinite(given)):
        raise DataError(f"item vectors must be a finite matrix [n_items, d], got {given.dtype} of shape {given.shape}")
    unit = unit_rows(given)

    def similarity(items: IntegerArray, item: IntegerArray) -> FloatArray:
        return np.asarray(np.matmul(unit[items], unit[item][:, :, None])[:, :, 0], dtype=np.float64)

    return similarity


def unit_rows(vectors: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """Return the rows at length 1, rows of zeros unchanged."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1.0)


def mmr(
    scores: npt.NDArray[np.floating[Any]],
    vectors: npt.NDArray[np.floating[Any]] | Similarity,
    candidates: IntegerArray,
    k: int,
    balance: float = 0.3,
) -> Positions:
    """Return lists ``int64[n_users, k]`` by maximal marginal relevance, -1 where candidates run out.

    At each rank the item with the largest ``(1 - balance) * relevance - balance * likeness`` comes next, where likeness
    is that to the most similar item already in the list. Costs k * n_candidates * d a user.

    Parameters
    ----------
    scores, candidates
        ``[n_users, n_candidates]``, catalogue indices with -1 for none.
    vectors
        ``float[n_items, d]``, or a `Similarity`.

    Raises
    ------
    SettingsError
        When balance is outside 0 .. 1 or k below 1.

    References
    ----------
    Carbonell and Goldstein, "The use of MMR, diversity-based reranking for reordering documents and producing
    summaries", SIGIR 1998.

    Examples
    --------
    >>> films = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    >>> mmr(np.array([[0.9, 0.8, 0.5]]), films, np.array([[0, 1, 2]]), k=2, balance=0.7).tolist()
    [[0, 2]]
    """
    return _diverse("mmr", scores, vectors, candidates, k, balance)


def dpp(
    scores: npt.NDArray[np.floating[Any]],
    vectors: npt.NDArray[np.floating[Any]] | Similarity,
    candidates: IntegerArray,
    k: int,
    balance: float = 0.3,
) -> Positions:
    """Return lists ``int64[n_users, k]`` by greedy maximisation of a determinantal point process.

    The objective of a list is ``(1 - balance) * sum of relevance + balance * log det S``, S being the likeness of its
    items: the log determinant falls when an item is a mixture of *several* others, which MMR cannot see. An
    incremental Cholesky factor makes a rank cost n_candidates * (k + d). Items that add no volume at all (below
    1e-6) are alike in this, and relevance decides among them.

    Parameters and errors are those of `mmr`.

    References
    ----------
    Chen, Zhang and Zhou, "Fast greedy MAP inference for determinantal point process to improve recommendation
    diversity", NeurIPS 2018, algorithm 1 and equation 11.
    """
    return _diverse("dpp", scores, vectors, candidates, k, balance)


def diversity_term(method: Method, similarity: Similarity, k: int) -> TermMaker:
    """Return the part of the gain that asks for difference, for `flanrec.ranking.greedy.select`."""

    def make(candidates: IntegerArray, rows: Positions) -> Term:
        return _Marginal(candidates, similarity) if method == "mmr" else _Volume(candidates, similarity, k)

    return make


def _diverse(
    method: Method,
    scores: npt.NDArray[np.floating[Any]],
    vectors: npt.NDArray[np.floating[Any]] | Similarity,
    candidates: IntegerArray,
    k: int,
    balance: float,
) -> Positions:
    if not 0 <= balance <= 1:
        raise SettingsError(f"balance must be between 0 (plain order) and 1 (difference only), got {balance}")
    similarity = vectors if callable(vectors) else cosine(vectors)
    cell = k if callable(vectors) else max(k, np.shape(vectors)[-1])
    term = (balance, diversity_term(method, similarity, k))
    chosen = select(candidates, scores, k, weight=1.0 - balance, terms=[term], cell=cell)
    return items_at(candidates, chosen)


def items_at(candidates: IntegerArray, positions: Positions) -> Positions:
    """Return the catalogue indices at positions ``int[n_users, k]`` of the candidates, -1 where there is none."""
    if np.shape(candidates)[1] == 0:
        return np.full(positions.shape, EMPTY, dtype=np.int64)
    found = np.take_along_axis(np.asarray(candidates, dtype=np.int64), np.maximum(positions, 0), axis=1)
    return np.where(positions == EMPTY, EMPTY, found)


class _Marginal:
    """Minus the likeness to the most similar item taken; 0 before the first."""

    def __init__(self, candidates: IntegerArray, similarity: Similarity) -> None:
        self._candidates, self._similarity = candidates, similarity
        self._nearest = np.full(candidates.shape, -np.inf)

    def gains(self) -> FloatArray:
        return np.where(np.isfinite(self._nearest), -self._nearest, 0.0)

    def take(self, chosen: Positions) -> None:
        got = np.flatnonzero(chosen != EMPTY)
        item = self._candidates[got, chosen[got]]
        self._nearest[got] = np.maximum(self._nearest[got], self._similarity(self._candidates[got], item))


class _Volume:
    """Log of the squared height of each candidate over the span of the items taken."""

    def __init__(self, candidates: IntegerArray, similarity: Similarity, k: int) -> None:
        self._candidates, self._similarity = candidates, similarity
        self._factor = np.zeros((*candidates.shape, k))
        self._heights = np.ones(candidates.shape)
        self._rank = 0

    def gains(self) -> FloatArray:
        return np.log(np.maximum(self._heights, _LEAST_VOLUME))

    def take(self, chosen: Positions) -> None:
        got = np.flatnonzero(chosen != EMPTY)
        got = got[self._heights[got, chosen[got]] > _LEAST_VOLUME]
        place = chosen[got]
        rows = self._factor[got, :, : self._rank]
        alike = self._similarity(self._candidates[got], self._candidates[got, place])
        before = np.matmul(rows, self._factor[got, place, : self._rank, None])[:, :, 0]
        column = (alike - before) / np.sqrt(self._heights[got, place])[:, None]
        self._factor[got, :, self._rank] = column
        self._heights[got] = np.maximum(self._heights[got] - column**2, 0.0)
        self._rank += 1
