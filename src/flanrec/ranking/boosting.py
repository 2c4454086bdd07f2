"""Trees that correct a simple fusion where held-out events say so; cross-validation chooses how many."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from flanrec.errors import CheckpointError
from flanrec.ranking.gains import ndcg_of_answers
from flanrec.ranking.pool import Floats, Ints, Pool
from flanrec.ranking.tree_text import rewritten


@dataclass(frozen=True)
class BoostingSettings:
    """How trees are grown (Burges, "From RankNet to LambdaRank to LambdaMART", 2010).

    Attributes
    ----------
    rounds
        Most trees; cross-validation may take fewer, or none.
    folds
        Of users, in the cross-validation.
    every
        Trees between two lengths that it compares.
    leaves, least_pairs, learning_rate, l2, features, truncation
        Of each tree: leaves, pairs in a leaf at least, its weight, ridge on leaf values, share of the features it
        may use; and how far down a list pairs count.
    threads
        To grow with; 0 for one a core.
    """

    rounds: int = 200
    folds: int = 5
    every: int = 25
    leaves: int = 7
    least_pairs: int = 100
    learning_rate: float = 0.05
    l2: float = 10.0
    features: float = 0.5
    truncation: int = 30
    threads: int = 0

    def parameters(self, seed: int) -> dict[str, Any]:
        """As LightGBM names them."""
        return {
            "objective": "lambdarank",
            "lambdarank_truncation_level": self.truncation,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.least_pairs,
            "learning_rate": self.learning_rate,
            "lambda_l2": self.l2,
            "feature_fraction": self.features,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "max_bin": 63,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": self.threads,
            "verbose": -1,
        }


@dataclass(frozen=True)
class Boosted:
    """Trees whose sum is added to a base score.

    Attributes
    ----------
    names
        Of the features, in the order of the trees'.
    text
        The trees in LightGBM's own text form; "" for none.
    curve
        NDCG@10 of the cross-validation by number of trees; 0 is the base alone.
    """

    names: tuple[str, ...]
    text: str
    curve: dict[int, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, pool: Pool, base: Floats, answers: Ints, settings: BoostingSettings, seed: int = 0) -> Boosted:
        """Grow as many trees as are best for users left out.

        Parameters
        ----------
        base
            float32 [n_pairs], the scores to correct.
        answers
            int64 [n_users], what each user took.

        Returns
        -------
        Boosted
            Without trees where none are better than some, or too few users have their answer in the pool.
        """
        right = pool.is_answer(answers)
        heard = np.zeros(pool.n_users, dtype=bool)
        heard[pool.users[right]] = True
        users = np.flatnonzero(heard)
        nothing = cls(pool.names, "")
        if len(users) < 10 * settings.folds:
            return nothing
        fold = np.full(pool.n_users, -1)
        fold[users] = np.random.default_rng(seed).permutation(len(users)) % settings.folds
        lengths = range(settings.every, settings.rounds + 1, settings.every)
        gains = {length: np.zeros(pool.n_users) for length in (0, *lengths)}
        for left_out in range(settings.folds):
            trees = _grow(pool, base, right, (fold >= 0) & (fold != left_out), settings, seed, settings.rounds)
            rows = fold[pool.users] == left_out
            told = {0: base[rows]}
            for length in lengths:
                told[length] = base[rows] + trees.predict(pool.features[rows], num_iteration=length)
            for length, scores in told.items():
                gains[length] += ndcg_of_answers(pool.users[rows], right[rows], scores, pool.n_users)
        curve = {length: float(found[users].mean()) for length, found in gains.items()}
        best = max(curve, key=lambda length: (curve[length], -length))
        if best == 0:
            return cls(pool.names, "", curve)
        trees = _grow(pool, base, right, fold >= 0, settings, seed, best)
        return cls(pool.names, trees.model_to_string(), curve)

    @cached_property
    def _trees(self) -> lightgbm.Booster:
        try:
            return lightgbm.Booster(model_str=rewritten(self.text, len(self.names)))
        except lightgbm.basic.LightGBMError as problem:
            raise CheckpointError(f"the trees of the fusion cannot be read: {problem}; save the model again") from None

    def scores(self, pool: Pool, base: Floats) -> Floats:
        """The corrected scores: float32 [n_pairs]."""
        if not self.text or not len(base):
            return base
        columns = [pool.names.index(name) for name in self.names]
        found = base + self._trees.predict(pool.features[:, columns], num_threads=1)
        return np.asarray(found, dtype=np.float32)


def _grow(
    pool: Pool, base: Floats, right: NDArray[np.bool_], users: NDArray[np.bool_], settings: BoostingSettings,
    seed: int, rounds: int,
) -> lightgbm.Booster:  # fmt: skip
    rows = users[pool.users]
    sizes = np.bincount(pool.users[rows], minlength=pool.n_users)
    data = lightgbm.Dataset(pool.features[rows], right[rows].astype(int), group=sizes[sizes > 0], init_score=base[rows])
    return lightgbm.train(settings.parameters(seed), data, rounds)
