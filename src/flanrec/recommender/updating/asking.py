"""What a model answers about held-out events, in one pass for the ranking by all sources and that by item tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flanrec.metrics import UserItems, ndcg
from flanrec.ranking.gains import ndcg_of_answers
from flanrec.ranking.pool import Pool
from flanrec.recommender.answering import Answering
from flanrec.recommender.fused import MODEL, TOKENS
from flanrec.recommender.updating.held_out import HeldOut

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_K = 10


@dataclass(frozen=True, eq=False)
class Asked:
    """A model that was asked about held-out events.

    Attributes
    ----------
    model
        Who was asked.
    held
        About what.
    pool
        What all sources that the model's fusion listens to say, the events' persons being the users.
    tokens
        float64 [n], NDCG@10 of the item tokens alone; None where they were not asked.
    """

    model: Answering
    held: HeldOut
    pool: Pool
    tokens: Floats | None

    @classmethod
    def of(cls, model: Answering, held: HeldOut, *, tokens: bool) -> Asked:
        """Ask a model.

        Parameters
        ----------
        tokens
            Whether item tokens are asked for their own ranking too.
        """
        heard = model.parts.fusion.sources & MODEL
        gatherer = model.gatherer(heard | TOKENS if tokens else heard)
        excluded = [np.unique(person.items) for person in held.persons]
        pool = Pool.joined([pool for _, pool, _ in gatherer.pools(held.persons, excluded=excluded)])
        alone = _by_rank(pool, held.answers) if tokens else None
        return cls(model, held, pool.without(MODEL - heard, gatherer.features.depth), alone)

    @cached_property
    def fused(self) -> Floats:
        """NDCG@10 of the ranking by all sources: float64 [n]."""
        return self.reached(self.model.parts.fusion.scores(self.pool))

    def reached(self, scores: NDArray[np.float32]) -> Floats:
        """NDCG@10 of each event where the pool's pairs are ranked by some scores: float64 [n]."""
        right = self.pool.is_answer(self.held.answers)
        return ndcg_of_answers(self.pool.users, right, scores, self.pool.n_users)

    def spelled(self, rows: Ints) -> Floats:
        """NDCG@10 of generation on some of the events: float64 [n_rows]."""
        items, _ = self.model.rank([self.held.persons[row] for row in rows.tolist()], _K, reading="generate")
        if items.shape[1] < _K:
            items = np.pad(items, ((0, 0), (0, _K - items.shape[1])), constant_values=-1)
        return ndcg(items, UserItems.from_lists([[answer] for answer in self.held.answers[rows].tolist()]), _K)


def _by_rank(pool: Pool, answers: Ints) -> Floats:
    """NDCG@10 of the item tokens alone, from their ranks in the pool."""
    right = pool.is_answer(answers)
    ranks = np.expm1(pool.column("tokens.rank")[right].astype(np.float64)).round()
    found = np.zeros(pool.n_users)
    found[pool.users[right]] = np.where(ranks < _K, 1 / np.log2(ranks + 2), 0.0)
    return found
