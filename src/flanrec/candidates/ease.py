"""EASE: the closed-form linear item-item model, asked with newer events weighing more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from flanrec.candidates.base import Arrays, Floats, Ints, check_growth, flatten, named_array, once
from flanrec.candidates.matrices import (
    Matrix,
    compressed,
    gram,
    incidence_before_and_after,
    log_incidence,
    matrix_arrays,
    matrix_layout,
    resized,
    square_from_arrays,
)
from flanrec.data.sequences import Sequences
from flanrec.errors import CheckpointError, SettingsError


@dataclass(frozen=True)
class Ease:
    """Settings of EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", 2019).

    The weights ``B`` minimise ``|X - X B|^2 + l2 |B|^2`` with a zero diagonal, where ``X`` is 1 where a user has
    met an item: ``B = I - P / diag(P)`` with ``P = (X.T X + l2 I)^-1``. A history scores
    ``sum_i decay ** age_i * B[i]``.

    Attributes
    ----------
    l2
        Ridge penalty; more for smaller logs.
    decay
        What an event weighs against the one after it when a history is scored; 1 is EASE as published.
    max_items
        Most items that get weights, the most-met ones; all others score 0. Memory is 4 bytes (about 16
        while fitting) times its square, time grows with its cube.
    """

    l2: float = 100.0
    decay: float = 0.95
    max_items: int = 20_000

    def __post_init__(self) -> None:
        if not 0 < self.l2 < float("inf"):
            raise SettingsError(f"l2 must be a positive number, got {self.l2}")
        if not 0 < self.decay <= 1:
            raise SettingsError(f"decay must be above 0 and at most 1, got {self.decay}")
        if self.max_items < 1:
            raise SettingsError(f"max_items must be at least 1, got {self.max_items}")

    @property
    def name(self) -> str:
        return "ease" if self.decay == 1 else "recent-ease"

    @property
    def layout(self) -> Mapping[str, int]:
        return {**matrix_layout("pairs"), "kept": 1, "weights": 2}

    def fit(self, log: Sequences) -> FittedEase:
        """Solve for the weights: cubic in the items that were met, at most `max_items`."""
        return _solve(self, gram(log_incidence(log)))

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> FittedEase:
        pairs = square_from_arrays("pairs", arrays)
        kept, weights = named_array(arrays, "kept", 1), named_array(arrays, "weights", 2)
        inside = not len(kept) or 0 <= int(kept.min()) <= int(kept.max()) < pairs.shape[0]
        if weights.shape != (len(kept), len(kept)) or not inside:
            raise CheckpointError("the arrays of EASE do not fit each other; fit and save the source again")
        return FittedEase(self, pairs, kept, weights)


@dataclass(frozen=True, eq=False)
class FittedEase:
    """Weights between items.

    Attributes
    ----------
    pairs
        int32 [n_items, n_items], how many users met both items; what an update adds to.
    kept
        int64 [n_kept], rising catalogue indices of the items with weights.
    weights
        float32 [n_kept, n_kept], row the item of the history.
    """

    source: Ease
    pairs: Matrix
    kept: Ints
    weights: Floats

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def n_items(self) -> int:
        return int(self.pairs.shape[0])

    def scores(self, histories: Sequence[Ints]) -> Floats:
        """Weighted sum over the items of each history, a repeated one at its newest place; 0 for an empty one."""
        flat = once(flatten(histories, self.n_items), self.n_items)
        places = np.full(self.n_items, -1, dtype=np.int64)
        places[self.kept] = np.arange(len(self.kept))
        rows = places[flat.items]
        known = rows >= 0
        values = (self.source.decay ** flat.ages[known]).astype(np.float32)
        asked = compressed(flat.users[known], rows[known], values, (len(histories), len(self.kept)))
        found = np.asarray(asked @ self.weights, dtype=np.float32)
        if len(self.kept) == self.n_items:
            return found
        scores = np.zeros((len(histories), self.n_items), dtype=np.float32)
        scores[:, self.kept] = found
        return scores

    def update(self, log: Sequences, before: Sequences | None = None) -> FittedEase:
        """Add to the pairs what the users of `log` newly met, and solve again."""
        n_items = check_growth(self.n_items, log)
        if not len(log.items):  # new items alone: the weights are those that there were
            return FittedEase(self.source, resized(self.pairs, n_items, n_items), self.kept, self.weights)
        had, have = incidence_before_and_after(log, before)
        return _solve(self.source, resized(self.pairs, n_items, n_items) + gram(have) - gram(had))

    def arrays(self) -> Arrays:
        return {**matrix_arrays("pairs", self.pairs), "kept": self.kept, "weights": self.weights}


def _solve(source: Ease, pairs: Matrix) -> FittedEase:
    counts = pairs.diagonal()
    most_met = np.argsort(-counts, kind="stable")[: source.max_items]
    # An item that nobody met has no weights but zeros.
    kept = np.sort(most_met[counts[most_met] > 0]).astype(np.int64)
    if not len(kept):
        return FittedEase(source, pairs, kept, np.zeros((0, 0), dtype=np.float32))
    penalised = pairs[kept][:, kept].toarray().astype(np.float64, order="F")
    penalised[np.diag_indices_from(penalised)] += source.l2
    factor, failed = lapack.dpotrf(penalised, lower=1, overwrite_a=1)
    inverse, singular = lapack.dpotri(factor, lower=1, overwrite_c=1)
    if failed or singular:
        raise SettingsError(f"the normal equations of EASE cannot be solved with l2={source.l2}; raise l2")
    scale = (-1 / np.diagonal(inverse)).astype(np.float32)
    weights: Floats = np.ascontiguousarray(inverse, dtype=np.float32)
    np.fill_diagonal(weights, 0)
    weights += weights.T  # only the lower triangle was filled
    weights *= scale
    return FittedEase(source, pairs, kept, weights)
