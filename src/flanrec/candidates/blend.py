"""A log-linear blend of closed-form sources: a probability of every item coming next, in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from flanrec.candidates.base import Arrays, Floats, Ints, Scorer, Source, named_array
from flanrec.candidates.ease import Ease, FittedEase
from flanrec.candidates.pairs import FittedPairs
from flanrec.candidates.popularity import FittedPopularity, Popularity
from flanrec.candidates.scales import log_smoothed, standardised
from flanrec.candidates.transitions import Transitions
from flanrec.data.sequences import Sequences

_LARGEST = 20_000_000
"""Most scores that the weights are fitted on; of more, users are drawn."""


@dataclass(frozen=True)
class Blend:
    """Settings of ``p(j | history) ~ exp(w_e * z_j) * (t_j + smoothing * p_j) ** w_t``.

    ``z`` are the scores of recency-weighted EASE, standardised over the items for each user; ``t`` those of the
    item transitions and ``p`` the items' shares of all events, which stand in where no transition was seen. A
    logarithmic opinion pool (Genest and Zidek, "Combining probability distributions", 1986).

    Attributes
    ----------
    weights
        ``w_e`` and ``w_t``; `FittedBlend.tuned` finds them by maximum likelihood on held-out events.
    smoothing
        Weight of the items' shares beside their transitions.
    """

    ease: Ease = field(default_factory=Ease)
    transitions: Transitions = field(default_factory=lambda: Transitions(window=10))
    popularity: Popularity = field(default_factory=Popularity)
    weights: tuple[float, float] = (0.36, 0.89)
    smoothing: float = 0.1

    @property
    def name(self) -> str:
        return "blend"

    @property
    def layout(self) -> Mapping[str, int]:
        parts: dict[str, Source] = {"ease": self.ease, "transitions": self.transitions, "popularity": self.popularity}
        return {f"{part}_{name}": size for part, source in parts.items() for name, size in source.layout.items()}

    def fit(self, log: Sequences) -> FittedBlend:
        """Fit each source."""
        return FittedBlend(self, self.ease.fit(log), self.transitions.fit(log), self.popularity.fit(log))

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> FittedBlend:
        for name, dimensions in self.layout.items():
            named_array(arrays, name, dimensions)

        def of(part: str) -> dict[str, NDArray[Any]]:
            return {name.removeprefix(f"{part}_"): value for name, value in arrays.items() if name.startswith(part)}

        return FittedBlend(
            self,
            self.ease.from_arrays(of("ease")),
            self.transitions.from_arrays(of("transitions")),
            self.popularity.from_arrays(of("popularity")),
        )


@dataclass(frozen=True, eq=False)
class FittedBlend:
    """The fitted sources and how they are blended."""

    source: Blend
    ease: FittedEase
    transitions: FittedPairs
    popularity: FittedPopularity

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def n_items(self) -> int:
        return self.ease.n_items

    def scores(self, histories: Sequence[Ints]) -> Floats:
        """Log-probabilities of every item coming next, up to a constant of each row: float32 [n_users, n_items]."""
        standardised, smoothed = self._features(histories)
        scores: Floats = self.source.weights[0] * standardised + self.source.weights[1] * smoothed
        return scores

    def _features(self, histories: Sequence[Ints]) -> tuple[Floats, Floats]:
        shares = self.popularity.scores([np.zeros(0, dtype=np.int64)])[0]
        return (
            standardised(self.ease.scores(histories)),
            log_smoothed(self.transitions.scores(histories), shares, self.source.smoothing),
        )

    def tuned(self, histories: Sequence[Ints], answers: Sequence[int] | Ints, seed: int = 0) -> FittedBlend:
        """The same sources with the weights that make what came next likeliest.

        Parameters
        ----------
        histories
            Users whose next event the sources have not seen.
        answers
            int64 [n_users], the item that came next. Items of a history other than its answer are taken to be
            impossible.
        seed
            Draws users where there are too many for memory.

        Returns
        -------
        FittedBlend
            Without any history, this one.
        """
        chosen = np.arange(len(histories))
        most = max(1, _LARGEST // max(self.n_items, 1))
        if len(chosen) > most:
            chosen = np.sort(np.random.default_rng(seed).choice(chosen, most, replace=False))
        if not len(chosen):
            return self
        known = [histories[int(user)] for user in chosen]
        right = np.asarray(answers, dtype=np.int64)[chosen]
        features = np.stack(self._features(known))
        closed = np.zeros(features.shape[1:], dtype=bool)
        for row, history in enumerate(known):
            closed[row, history] = True
        users = np.arange(len(known))
        closed[users, right] = False
        given = features[:, users, right].mean(axis=1)

        def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            logits = np.where(closed, -np.inf, np.tensordot(weights, features, axes=1))
            total = logsumexp(logits, axis=1, keepdims=True)
            expected = np.einsum("ui,fui->f", np.exp(logits - total), features) / len(known)
            return float(total.mean() - weights @ given), expected - given

        found = minimize(loss, np.array(self.source.weights), jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * 2)
        weights = float(found.x[0]), float(found.x[1])
        return replace(self, source=replace(self.source, weights=weights))

    def update(self, log: Sequences, before: Sequences | None = None) -> FittedBlend:
        """Add events to each source; the weights stay."""
        return replace(
            self,
            ease=self.ease.update(log, before),
            transitions=self.transitions.update(log, before),
            popularity=self.popularity.update(log, before),
        )

    def arrays(self) -> Arrays:
        parts: dict[str, Scorer] = {"ease": self.ease, "transitions": self.transitions, "popularity": self.popularity}
        return {f"{part}_{name}": array for part, scorer in parts.items() for name, array in scorer.arrays().items()}
