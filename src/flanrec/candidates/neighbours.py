"""Item neighbours: items that were met by the same users, by cosine or BM25 weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flanrec.candidates.base import Arrays, Floats, Ints, check_growth, flatten, once
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
class ItemNeighbours:
    """Settings of item-based nearest neighbours (Sarwar et al., 2001; Deshpande and Karypis, 2004).

    Attributes
    ----------
    weighting
        ``"cosine"`` compares which users met two items. ``"bm25"`` takes items for documents and users for
        their words (Robertson and Zaragoza, "The Probabilistic Relevance Framework", 2009): users who met much
        count less, and so do items that many met; two items are as similar as the product of their weights.
    neighbours
        How many of the most similar items each item keeps, itself not among them: it raises the scores of
        these and of no others. (The same number in the package implicit counts the item itself.)
    k1, b
        Saturation and length normalisation of BM25; not used by cosine.
    """

    weighting: Literal["cosine", "bm25"] = "cosine"
    neighbours: int = 50
    k1: float = 1.2
    b: float = 0.75

    def __post_init__(self) -> None:
        if self.weighting not in ("cosine", "bm25"):
            raise SettingsError(f"weighting must be cosine or bm25, got {self.weighting!r}")
        if self.neighbours < 1:
            raise SettingsError(f"neighbours must be at least 1, got {self.neighbours}")
        if not 0 <= self.k1 < float("inf") or not 0 <= self.b <= 1:
            raise SettingsError(f"k1 must be at least 0 and b between 0 and 1, got {self.k1} and {self.b}")

    @property
    def name(self) -> str:
        return f"neighbours-{self.weighting}"

    @property
    def layout(self) -> Mapping[str, int]:
        layout = matrix_layout("similar")
        for power in self._powers:
            layout |= matrix_layout(f"pairs{power}")
        return layout

    @property
    def _powers(self) -> range:
        return range(1 if self.weighting == "cosine" else 3)

    def fit(self, log: Sequences) -> FittedNeighbours:
        """Compare all pairs of items met together: the sum of squared history lengths in time and memory."""
        return _compare(self, self._moments(log_incidence(log)))

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> FittedNeighbours:
        pairs = tuple(square_from_arrays(f"pairs{power}", arrays) for power in self._powers)
        similar = square_from_arrays("similar", arrays)
        if any(each.shape != similar.shape for each in pairs):
            raise CheckpointError("the arrays of item neighbours do not fit each other; fit and save the source again")
        return FittedNeighbours(self, pairs, similar)

    def _moments(self, met: Matrix) -> tuple[Matrix, ...]:
        """Pairs of items, each user weighted by powers of the log of 1 + items met."""
        logs = np.log1p(np.diff(met.indptr).astype(np.float64))
        return tuple(gram(met, logs**power if power else None) for power in self._powers)


@dataclass(frozen=True, eq=False)
class FittedNeighbours:
    """Similar items.

    Attributes
    ----------
    pairs
        [n_items, n_items] each: users who met both items, weighted by powers 0, 1, ... of the log of
        1 + items met. They add up over users, and the weights of BM25 follow from them.
    similar
        float32 [n_items, n_items], row the item of the history.
    """

    source: ItemNeighbours
    pairs: tuple[Matrix, ...]
    similar: Matrix

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def n_items(self) -> int:
        return int(self.similar.shape[0])

    def scores(self, histories: Sequence[Ints]) -> Floats:
        """Sum of similarities to the items of each history, each counted once; 0 for an empty one."""
        flat = once(flatten(histories, self.n_items), self.n_items)
        values = np.ones(len(flat.items), dtype=np.float32)
        asked = compressed(flat.users, flat.items, values, (len(histories), self.n_items))
        return np.asarray((asked @ self.similar).toarray(), dtype=np.float32)

    def update(self, log: Sequences, before: Sequences | None = None) -> FittedNeighbours:
        """Add to the pairs what the users of `log` newly met, and compare again."""
        n_items = check_growth(self.n_items, log)
        had, have = incidence_before_and_after(log, before)
        moments = zip(self.pairs, self.source._moments(have), self.source._moments(had), strict=True)
        pairs = tuple(resized(old, n_items, n_items) + new - replaced for old, new, replaced in moments)
        return _compare(self.source, pairs)

    def arrays(self) -> Arrays:
        arrays = matrix_arrays("similar", self.similar)
        for power, matrix in enumerate(self.pairs):
            arrays |= matrix_arrays(f"pairs{power}", matrix)
        return arrays


def _compare(source: ItemNeighbours, pairs: tuple[Matrix, ...]) -> FittedNeighbours:
    counts = pairs[0].diagonal().astype(np.float64)
    if source.weighting == "cosine":
        shared = pairs[0]
        scale = 1 / np.sqrt(np.maximum(counts, 1))
    else:
        # A user's weight is (log n_items - log(1 + items met))^2, here multiplied out.
        log_items = np.log(max(len(counts), 1))
        shared = log_items**2 * pairs[0] - 2 * log_items * pairs[1] + pairs[2]
        length = counts / max(counts.mean(), 1e-12) if len(counts) else counts
        scale = (source.k1 + 1) / (source.k1 * (1 - source.b + source.b * length) + 1)
    return FittedNeighbours(source, pairs, _nearest(shared, scale, source.neighbours))


def _nearest(shared: Matrix, scale: NDArray[np.float64], neighbours: int) -> Matrix:
    """The largest `neighbours` off the diagonal of ``scale * shared * scale`` by row, lower index first at ties."""
    rows = np.repeat(np.arange(shared.shape[0], dtype=np.int64), np.diff(shared.indptr))
    columns = shared.indices.astype(np.int64)
    # Rounding to float32 makes ties of what differs by the order of summation only.
    values = (shared.data * scale[rows] * scale[columns]).astype(np.float32)
    apart = (rows != columns) & (values > 0)
    rows, columns, values = rows[apart], columns[apart], values[apart]
    order = np.lexsort((columns, -values, rows))
    first = np.searchsorted(rows, np.arange(shared.shape[0] + 1))
    near = order[np.arange(len(order)) - first[rows] < neighbours]
    near.sort()
    return compressed(rows[near], columns[near], values[near], shared.shape)
