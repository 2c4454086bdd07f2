"""Fusion: one score from all sources, learned on held-out events alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flanrec.ranking.boosting import Boosted, BoostingSettings
from flanrec.ranking.loglinear import LogLinear
from flanrec.ranking.pool import Floats, Ints, Pool

BASE = (
    "ease.score", "transitions.score", "backward.score", "covisits.score", "alike.score", "popularity.score",
    "recent.score", "audience.score", "kind.score", "years.score", "text.score", "nearest.score", "tokens.score",
)  # fmt: skip
"""Features of the log-linear part, where a pool has them."""


@dataclass(frozen=True)
class Fusion:
    """What was learned of how to fuse.

    Attributes
    ----------
    base
        The log-linear part.
    trees
        Its corrections.
    """

    base: LogLinear
    trees: Boosted = field(default_factory=lambda: Boosted((), ""))

    @classmethod
    def fit(
        cls,
        pool: Pool,
        answers: Ints,
        boosting: BoostingSettings | None,
        seed: int,
        earlier: tuple[Pool, Ints] | None = None,
    ) -> Fusion:
        """Learn from held-out events; with too few of them every source weighs as in the closed-form blend.

        Parameters
        ----------
        earlier
            The pool and the answers of further held-out events, which may lack features: the weights learned on
            them are what is expected of those learned on `pool`.
        """
        prior = None if earlier is None else LogLinear.fit(*earlier, _in_base(earlier[0]))
        expected = {} if prior is None else dict(zip(prior.names, prior.weights, strict=True))
        base = LogLinear.fit(pool, answers, _in_base(pool), prior=expected)
        if base is None:
            return cls.unlearned(pool.names)
        if boosting is None:
            return cls(base)
        return cls(base, Boosted.fit(pool, base.scores(pool), answers, boosting, seed))

    @classmethod
    def unlearned(cls, names: Sequence[str]) -> Fusion:
        """Weights for logs that are too small to learn any."""
        plain = {"ease.score": 0.36, "transitions.score": 0.9, "tokens.score": 0.3}
        kept = {name: weight for name, weight in plain.items() if name in names}
        return cls(LogLinear(tuple(kept), tuple(kept.values())))

    def scores(self, pool: Pool) -> Floats:
        """float32 [n_pairs]; compare within a user only."""
        return self.trees.scores(pool, self.base.scores(pool))

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "names": list(self.base.names),
            "weights": list(self.base.weights),
            "tree_features": list(self.trees.names),
            "trees": self.trees.text,
            "curve": {str(length): value for length, value in self.trees.curve.items()},
        }

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Fusion:
        """From `to_dict`."""
        curve = {int(length): float(value) for length, value in body["curve"].items()}
        trees = Boosted(tuple(body["tree_features"]), str(body["trees"]), curve)
        return cls(LogLinear(tuple(body["names"]), tuple(body["weights"])), trees)


def _in_base(pool: Pool) -> list[str]:
    return [name for name in BASE if name in pool.names]
