"""A conditional logit over the features of a pool: few weights, learned on few events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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
        problem = _Problem.of(pool, answers, names, prior, strength)
        if problem is None:
            return None
        found = minimize(problem.loss, problem.expected, jac=True, method="L-BFGS-B", options={"maxiter": 200})
        return cls(tuple(names), tuple(float(weight) for weight in found.x / problem.spread))

    def left_out(
        self,
        pool: Pool,
        answers: Ints,
        *,
        prior: Mapping[str, float] = MappingProxyType({}),
        strength: float = 10.0,
    ) -> Floats:
        """The score of each candidate by weights that its own user had no part in.

        They are a step from the weights of all users by the curvature of all users, which leaves out terms of second
        order in one user's share of the evidence (the infinitesimal jackknife; Giordano, Stephenson, Liu, Jordan and
        Broderick, "A Swiss army infinitesimal jackknife", 2019).

        Parameters
        ----------
        pool, answers, prior, strength
            What the weights were fitted on.

        Returns
        -------
        numpy.ndarray
            float32 [n_pairs].
        """
        scores = self.scores(pool)
        problem = _Problem.of(pool, answers, self.names, prior, strength)
        if problem is None:
            return scores
        steps = problem.steps(np.array(self.weights) * problem.spread)
        change = np.einsum("pf,pf->p", problem.features, np.repeat(steps, problem.sizes, axis=0))
        scores[problem.kept] += change.astype(np.float32)
        return scores

    def scores(self, pool: Pool) -> Floats:
        """float32 [n_pairs]."""
        return np.asarray(_columns(pool, self.names) @ np.array(self.weights), dtype=np.float32)


def _columns(pool: Pool, names: Sequence[str]) -> Floats:
    missing = [name for name in names if name not in pool.names]
    if missing:
        raise DataError(f"the pool has no feature {', '.join(missing)}; it has {', '.join(pool.names)}")
    return pool.features[:, [pool.names.index(name) for name in names]]


@dataclass(frozen=True)
class _Problem:
    """The penalised likelihood of users whose answer is a candidate, in standardised features.

    Attributes
    ----------
    kept
        bool [n_pairs of the pool], the pairs of those users.
    features
        float64 [n_kept, n_features].
    right
        bool [n_kept], the answers.
    starts, sizes
        int64 [n_heard], where each user's pairs begin, and how many there are.
    spread
        float64 [n_features], what the features were divided by.
    expected
        float64 [n_features], the centre of the penalty.
    penalty
        Its weight, per user.
    """

    kept: NDArray[np.bool_]
    features: NDArray[np.float64]
    right: NDArray[np.bool_]
    starts: Ints
    sizes: Ints
    spread: NDArray[np.float64]
    expected: NDArray[np.float64]
    penalty: float

    @classmethod
    def of(
        cls, pool: Pool, answers: Ints, names: Sequence[str], prior: Mapping[str, float], strength: float
    ) -> _Problem | None:
        """None where too few users have their answer in the pool."""
        right = pool.is_answer(answers)
        heard = np.zeros(pool.n_users, dtype=bool)
        heard[pool.users[right]] = True
        if heard.sum() < _FEWEST:
            return None
        kept = heard[pool.users]
        features = _columns(pool, names)[kept].astype(np.float64)
        starts = np.flatnonzero(np.diff(pool.users[kept], prepend=-1))
        spread = features.std(axis=0)
        spread[spread == 0] = 1.0
        features /= spread
        return cls(
            kept=kept,
            features=features,
            right=right[kept],
            starts=starts,
            sizes=np.diff(np.append(starts, len(features))),
            spread=spread,
            expected=np.array([prior.get(name, 0.0) for name in names]) * spread,
            penalty=strength / len(starts),
        )

    @cached_property
    def wanted(self) -> NDArray[np.float64]:
        """Mean features of the answers."""
        mean: NDArray[np.float64] = self.features[self.right].mean(axis=0)
        return mean

    def loss(self, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Mean negative log-likelihood and penalty, and its slope."""
        chances, norms = self._chances(weights)
        away = weights - self.expected
        value = float(norms.mean() - self.wanted @ weights + self.penalty * away @ away)
        slope = chances @ self.features / len(self.starts) - self.wanted + 2 * self.penalty * away
        return value, slope

    def steps(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the best weights change by, to first order, without each user: float64 [n_heard, n_features]."""
        weighted = self.features * self._chances(weights)[0][:, None]
        means = np.add.reduceat(weighted, self.starts, axis=0)
        curvature = self.features.T @ weighted - means.T @ means
        curvature += 2 * self.penalty * len(self.starts) * np.eye(len(weights))
        steps: NDArray[np.float64] = np.linalg.solve(curvature, (means - self.features[self.right]).T).T
        return steps

    def _chances(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Each candidate's probability among its user's, and the log of the normaliser of each user."""
        logits = self.features @ weights
        peak = np.maximum.reduceat(logits, self.starts)
        chances = np.exp(logits - np.repeat(peak, self.sizes))
        total = np.add.reduceat(chances, self.starts)
        chances /= np.repeat(total, self.sizes)
        return chances, np.log(total) + peak
