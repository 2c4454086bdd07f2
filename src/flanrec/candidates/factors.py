"""Factors: alternating least squares by the package implicit, users folded in by their closed form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flanrec.candidates.base import Arrays, Floats, Ints, flatten, named_array, once
from flanrec.candidates.matrices import (
    Matrix,
    compressed,
    incidence_with,
    log_incidence,
    matrix_arrays,
    matrix_from_arrays,
    matrix_layout,
)
from flanrec.data.sequences import Sequences
from flanrec.errors import CheckpointError, SettingsError


@dataclass(frozen=True)
class Factors:
    """Settings of implicit-feedback matrix factorisation (Hu, Koren and Volinsky, 2008).

    Fitting needs the extra ``baselines``; scoring does not.

    Attributes
    ----------
    embedding_size
        Numbers an item.
    epochs
        Rounds of users and items.
    l2
        Ridge penalty of all factors.
    confidence
        Weight of an item that a user has met; all others weigh 1.
    seed
        Of the factors that items start with.
    threads
        Threads to fit with; 0 for one a core.
    """

    embedding_size: int = 32
    epochs: int = 15
    l2: float = 0.01
    confidence: float = 1.0
    seed: int = 42
    threads: int = 0

    def __post_init__(self) -> None:
        if self.embedding_size < 1 or self.epochs < 1:
            raise SettingsError(
                f"embedding_size and epochs must be at least 1, got {self.embedding_size} and {self.epochs}"
            )
        if not (0 < self.l2 < float("inf") and 1 <= self.confidence < float("inf")):
            raise SettingsError(f"l2 must be above 0 and confidence at least 1, got {self.l2} and {self.confidence}")

    @property
    def name(self) -> str:
        return "factors"

    @property
    def layout(self) -> Mapping[str, int]:
        return {**matrix_layout("met"), "item_factors": 2}

    def fit(self, log: Sequences) -> FittedFactors:
        """Factorise: a round takes ``events * embedding_size^2 + (users + items) * embedding_size^3``.

        Raises
        ------
        SettingsError
            If the package implicit is not installed.
        """
        return _factorise(self, log_incidence(log))

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> FittedFactors:
        met, factors = matrix_from_arrays("met", arrays), named_array(arrays, "item_factors", 2)
        if factors.shape != (met.shape[1], self.embedding_size):
            raise CheckpointError(
                f"the saved factors have shape {factors.shape}, but the settings and users want "
                f"{met.shape[1]} items of {self.embedding_size} numbers an item; fit and save the source again"
            )
        return FittedFactors(self, met, factors)


@dataclass(frozen=True, eq=False)
class FittedFactors:
    """Factors of the items.

    Attributes
    ----------
    met
        int32 [n_users, n_items], 1 where a user has met an item: an update factorises anew.
    item_factors
        float32 [n_items, embedding_size].
    """

    source: Factors
    met: Matrix
    item_factors: Floats

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def n_items(self) -> int:
        return len(self.item_factors)

    def scores(self, histories: Sequence[Ints]) -> Floats:
        """Products with the factors that best explain each history; 0 for an empty one."""
        flat = once(flatten(histories, self.n_items), self.n_items)
        met = compressed(flat.users, flat.items, np.ones(len(flat.items)), (len(histories), self.n_items))
        factors = self.item_factors.astype(np.float64)
        users = _fold_in(met, factors, self.source.l2, self.source.confidence)
        return np.asarray(users @ factors.T, dtype=np.float32)

    def update(self, log: Sequences, before: Sequences | None = None) -> FittedFactors:
        """Factorise all events anew; alternating least squares has no exact shorter way.

        Raises
        ------
        DataError
            Also if no user of the log fitted so far has met just what `before` says.
        """
        return _factorise(self.source, incidence_with(self.met, log, before))

    def arrays(self) -> Arrays:
        return {**matrix_arrays("met", self.met), "item_factors": self.item_factors}


def _fold_in(met: Matrix, factors: NDArray[np.float64], l2: float, confidence: float) -> NDArray[np.float64]:
    """User factors ``(Y'Y + (c - 1) Yu'Yu + l2 I)^-1 c Yu'1``, with ``Yu`` the factors of the items met."""
    common = factors.T @ factors + l2 * np.eye(factors.shape[1])
    wanted = confidence * np.asarray(met @ factors)
    if confidence == 1:
        return np.asarray(np.linalg.solve(common, wanted.T).T)
    users = np.zeros_like(wanted)
    for user, (first, last) in enumerate(zip(met.indptr, met.indptr[1:], strict=False)):
        own = factors[met.indices[first:last]]
        users[user] = np.linalg.solve(common + (confidence - 1) * own.T @ own, wanted[user])
    return users


def _factorise(source: Factors, met: Matrix) -> FittedFactors:
    n_users, n_items = met.shape
    if met.nnz == 0:
        return FittedFactors(source, met, np.zeros((n_items, source.embedding_size), dtype=np.float32))
    try:
        from implicit.cpu.als import AlternatingLeastSquares
    except ImportError as error:
        raise SettingsError(
            'matrix factorisation needs the package implicit; install it with pip install "flanrec[baselines]"'
        ) from error
    model = AlternatingLeastSquares(
        factors=source.embedding_size,
        regularization=source.l2,
        alpha=source.confidence,
        dtype=np.float64,
        use_cg=False,
        iterations=source.epochs,
        num_threads=source.threads,
    )
    # Set by hand, the start of an item does not depend on how many users or later items there are.
    model.user_factors = np.zeros((n_users, source.embedding_size))
    model.item_factors = np.random.default_rng(source.seed).random((n_items, source.embedding_size)) * 0.01
    model.fit(met.astype(np.float32), show_progress=False)
    return FittedFactors(source, met, np.asarray(model.item_factors, dtype=np.float32))
