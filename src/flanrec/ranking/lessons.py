"""Lessons: the held-out events that a fusion is learned on, and the weights that they give."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flanrec.ranking.gains import ndcg_of_answers
from flanrec.ranking.loglinear import LogLinear
from flanrec.ranking.pool import Ints, Pool

BASE = (
    "ease.score", "transitions.score", "backward.score", "covisits.score", "alike.score", "popularity.score",
    "recent.score", "audience.score", "kind.score", "years.score", "text.score", "nearest.score", "written.score",
    "tokens.score",
)  # fmt: skip
"""Features of the log-linear part, where a pool has them."""


@dataclass(frozen=True, eq=False)
class Lessons:
    """What a fusion is learned on.

    Attributes
    ----------
    pool, answers
        Of the validation events; int64 [n_users].
    earlier
        Pool and answers of events before them, which may lack sources: the weights learned on them are what is
        expected of those learned on `pool`. None where validation events are enough.
    depth
        How many candidates each source named.
    """

    pool: Pool
    answers: Ints
    earlier: tuple[Pool, Ints] | None = None
    depth: int = 100

    def without(self, sources: Collection[str]) -> Lessons:
        """The lessons where some sources are not asked."""
        earlier = self.earlier and (self.earlier[0].without(sources, self.depth), self.earlier[1])
        return replace(self, pool=self.pool.without(sources, self.depth), earlier=earlier)

    @cached_property
    def weights(self) -> LogLinear | None:
        """The weights that the validation events give; None where they are too few."""
        return LogLinear.fit(self.pool, self.answers, _in_base(self.pool), prior=self._expected)

    def reached(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """NDCG@10 of validation events and of earlier ones, each by weights that it had no part in.

        Returns
        -------
        tuple of numpy.ndarray or None
            float64 [n_users] and [n_earlier], 0 where the answer is no candidate; None where nothing can be learned.
        """
        if self.weights is None:
            return None
        later = _reached(self.weights, self.pool, self.answers, self._expected)
        if self.earlier is None or self._before is None:
            return later, np.zeros(0)
        return later, _reached(self._before, *self.earlier, {})

    @cached_property
    def _before(self) -> LogLinear | None:
        return None if self.earlier is None else LogLinear.fit(*self.earlier, _in_base(self.earlier[0]))

    @property
    def _expected(self) -> Mapping[str, float]:
        return {} if self._before is None else dict(zip(self._before.names, self._before.weights, strict=True))


def _reached(base: LogLinear, pool: Pool, answers: Ints, expected: Mapping[str, float]) -> NDArray[np.float64]:
    scores = base.left_out(pool, answers, prior=expected)
    return ndcg_of_answers(pool.users, pool.is_answer(answers), scores, pool.n_users)


def _in_base(pool: Pool) -> list[str]:
    return [name for name in BASE if name in pool.names]
