"""A conditional logit over the features of a pool: few weights, learned on few events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from flanrec.errors import DataError
from flanrec.ranking.pool import Floats, Ints, Pool

_FEWEST = 20
"""With fewer users whose answer is a candidate, nothing is learned."""


@dataclass(frozen=True)
class LogLinear:
    """A conditional logit: ``p(item | user's pool) ~ exp(features @ weights)``.

    Few weights, learned by penalised maximum likelihood, so a few hundred held-out events suffice. Its scores are
    comparable within a user (McFadden, "Conditional logit analysis of qualitative choice behavior", 1974).

    Attributes
    ----------
    names
        Of the features that are used.
    weights
        float64, one a feature, of the features as they are.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]

    @classmethod
    def fit(
        cls,
        pool: Pool,
        answers: Ints,
        names: Sequence[str],
        *,
        prior: Mapping[str, float] = MappingProxyType({}),
        strength: float = 10.0,
    ) -> LogLinear | None:
        """Fit on held-out events.

        Parameters
        ----------
        answers
            int64 [n_users], what each user took; users whose answer is not in the pool are passed over.
        names
            Features to use.
        prior
            Weights that are expected, of features as they are; 0 for others.
        strength
            How many events the prior weighs like: the penalty on the squared distances from it, of the weights of
            standardised features, in log-likelihood.

        Returns
        -------
        LogLinear or None
            None where too few users have their answer in the pool.
        """
        right = pool.is_answer(answers)
        heard = np.zeros(pool.n_users, dtype=bool)
        heard[pool.users[right]] = True
        if heard.sum() < _FEWEST:
            return None
        kept = heard[pool.users]
        features = _columns(pool, names)[kept].astype(np.float64)
        right = right[kept]
        starts = np.flatnonzero(np.diff(pool.users[kept], prepend=-1))
        sizes = np.diff(np.append(starts, len(right)))
        spread = features.std(axis=0)
        spread[spread == 0] = 1.0
        expected = np.array([prior.get(name, 0.0) for name in names]) * spread
        penalty = strength / len(starts)
        features /= spread
        wanted = features[right].mean(axis=0)

        def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            logits = features @ weights
            peak = np.maximum.reduceat(logits, starts)
            chances = np.exp(logits - np.repeat(peak, sizes))
            total = np.add.reduceat(chances, starts)
            chances /= np.repeat(total * len(starts), sizes)
            away = weights - expected
            value = float((np.log(total) + peak).mean() - wanted @ weights + penalty * away @ away)
            return value, chances @ features - wanted + 2 * penalty * away

        found = minimize(loss, expected, jac=True, method="L-BFGS-B", options={"maxiter": 200})
        return cls(tuple(names), tuple(float(weight) for weight in found.x / spread))

    def scores(self, pool: Pool) -> Floats:
        """float32 [n_pairs]."""
        return np.asarray(_columns(pool, self.names) @ np.array(self.weights), dtype=np.float32)


def _columns(pool: Pool, names: Sequence[str]) -> Floats:
    missing = [name for name in names if name not in pool.names]
    if missing:
        raise DataError(f"the pool has no feature {', '.join(missing)}; it has {', '.join(pool.names)}")
    return pool.features[:, [pool.names.index(name) for name in names]]
