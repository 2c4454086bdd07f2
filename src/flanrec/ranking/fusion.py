"""Fusion: one score from all sources, learned on held-out events alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from flanrec.ranking.boosting import Boosted, BoostingSettings
from flanrec.ranking.lessons import Lessons
from flanrec.ranking.loglinear import LogLinear
from flanrec.ranking.pool import Floats, Pool, source_of
from flanrec.ranking.verdicts import Verdict, judged


@dataclass(frozen=True)
class Fusion:
    """What was learned of how to fuse.

    Attributes
    ----------
    base
        The log-linear part.
    trees
        Its corrections.
    verdicts
        What held-out events said of the language model's sources, where they were asked.
    """

    base: LogLinear
    trees: Boosted = field(default_factory=lambda: Boosted((), ""))
    verdicts: tuple[Verdict, ...] = ()

    @classmethod
    def fit(cls, lessons: Lessons, boosting: BoostingSettings | None, seed: int, *, judging: bool = False) -> Fusion:
        """Learn from held-out events; with too few of them every source weighs as in the closed-form blend.

        Parameters
        ----------
        judging
            Leave out the sources of the language model that held-out events do not confirm.
        """
        verdicts: tuple[Verdict, ...] = ()
        if judging:
            lessons, verdicts = judged(lessons)
        base = lessons.weights
        if base is None:
            return cls.unlearned(lessons.pool.names)
        if boosting is None:
            return cls(base, verdicts=verdicts)
        pool = lessons.pool
        return cls(base, Boosted.fit(pool, base.scores(pool), lessons.answers, boosting, seed), verdicts)

    @classmethod
    def unlearned(cls, names: Sequence[str]) -> Fusion:
        """Weights for logs that are too small to learn any."""
        plain = {"ease.score": 0.36, "transitions.score": 0.9, "tokens.score": 0.3}
        kept = {name: weight for name, weight in plain.items() if name in names}
        return cls(LogLinear(tuple(kept), tuple(kept.values())))

    @property
    def sources(self) -> frozenset[str]:
        """The sources that it listens to."""
        return frozenset(map(source_of, (*self.base.names, *(self.trees.names if self.trees.text else ()))))

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
            "verdicts": [asdict(one) for one in self.verdicts],
        }

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Fusion:
        """From `to_dict`."""
        curve = {int(length): float(value) for length, value in body["curve"].items()}
        trees = Boosted(tuple(body["tree_features"]), str(body["trees"]), curve)
        verdicts = tuple(Verdict(**one) for one in body.get("verdicts", []))
        return cls(LogLinear(tuple(body["names"]), tuple(body["weights"])), trees, verdicts)
