"""What each source is worth to the fused ranking: the ranking without it, the weights learned again.

Leaving a source out takes its features away and the candidates that it alone named. The weights, and the trees where
the recommender has them, are then learned on the events that the recommender's own were learned on. Where only items
without a past are ranked, behaviour reaches them through content alone: there one row is made, without all that the
language model tells.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.people import Person
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.evaluation.methods import Ints, K, Method, Ranking
from flanrec.evaluation.tasks import RankingTask
from flanrec.ranking.content import Newcomers
from flanrec.ranking.features import Features
from flanrec.ranking.fusion import BASE, Fusion
from flanrec.ranking.pool import Pool
from flanrec.recommender import Recommender
from flanrec.recommender.new_items import rank_among
from flanrec.recommender.readings import NOTHING
from flanrec.recommender.stages import Lessons, Material, lessons

_UNKNOWN = float("nan")
ALL = "fused, learned again"
WITHOUT_MODEL = "without the language model"
_MODEL = frozenset({"text", "nearest", "tokens"})
_NOTHING: frozenset[str] = frozenset()


def ablation_methods(rankings: Mapping[str, Callable[[], Ranking]], identity: str) -> list[Method]:
    """Rows from rankings by name, each made when its row is due.

    They share the work of asking the sources, so the time of one alone is not known.

    Parameters
    ----------
    rankings
        Such as `fused_without` gives.
    identity
        Tells one recommender from another.
    """

    def fit(task: RankingTask, *, make: Callable[[], Ranking]) -> Ranking:
        return make()

    return [
        Method(name, "ablation", identity, partial(fit, make=make), _UNKNOWN, _UNKNOWN)
        for name, make in rankings.items()
    ]


def ablations(recommender: Recommender, task: RankingTask) -> dict[str, Callable[[], Ranking]]:
    """The rankings without sources that a task has: `fused_without`, or `new_without_model` where all items are new."""
    counts = recommender.parts.catalogue.popularity
    if task.allowed is not None and not counts[task.allowed].any():
        return new_without_model(recommender)
    return fused_without(recommender, task.known)


def fused_without(recommender: Recommender, known: Dataset) -> dict[str, Callable[[], Ranking]]:
    """The fused ranking with its weights learned again, and without each of its sources.

    Parameters
    ----------
    known
        What the recommender was fitted on, validation events included.

    Notes
    -----
    Where the item tokens were tuned again on all events (``tokens.refit``), they have seen the validation events, and
    the weights learned here lean on them; the row that leaves nothing out shows by how much.
    """
    sources = _Sources(recommender, known)
    rankings: dict[str, Callable[[], Ranking]] = {
        ALL: partial(sources.ranking, _NOTHING),
        WITHOUT_MODEL: partial(sources.ranking, _MODEL),
    }
    for name in sources.heard:
        rankings[f"without {name}"] = partial(sources.ranking, frozenset({name}))
    return rankings


def new_without_model(recommender: Recommender) -> dict[str, Callable[[], Ranking]]:
    """The ranking of items without a past where texts are not read: by category and year alone."""
    parts = recommender.parts
    blind = replace(parts.content, texts=np.zeros_like(parts.content.texts))
    newcomers = Newcomers.of(blind, parts.catalogue.popularity)

    def rank(asked: Sequence[Person], allowed: NDArray[np.bool_] | None) -> Ints:
        new = parts.catalogue.popularity == 0 if allowed is None else allowed
        return rank_among(parts, new, asked, K, NOTHING, newcomers=newcomers)[0]

    return {WITHOUT_MODEL: lambda: rank}


class _Sources:
    """What all sources say of the validation users and of those who ask, gathered once."""

    def __init__(self, recommender: Recommender, known: Dataset) -> None:
        self.recommender = recommender
        self.known = known
        self._asked: dict[tuple[int, ...], Pool] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features."""
        gatherer = self.recommender.fused_reading.gatherer
        return next(gatherer.pools([Person.new()]))[1].names

    @property
    def heard(self) -> list[str]:
        """The sources that the fusion listens to, or that name candidates."""
        fusion = self.recommender.parts.fusion
        used = {_source(name) for name in (*fusion.base.names, *fusion.trees.names)} | set(Features().naming)
        return [_source(name) for name in self.names if name.endswith(".score") and _source(name) in used]

    @cached_property
    def learned_on(self) -> Lessons | None:
        """What the recommender's own fusion was learned on; None without validation users."""
        recommender, parts = self.recommender, self.recommender.parts
        train, validation = hold_out_last(self.known)
        material = Material.gather(train, validation, parts.prompter, recommender.settings, {})
        if not material.asked:
            return None
        return lessons(material, recommender.token_reading, parts.content)

    def ranking(self, left_out: frozenset[str]) -> Ranking:
        """The ranking without some sources."""
        settings = self.recommender.settings
        if self.learned_on is None:
            fusion = Fusion.unlearned([name for name in BASE if name in self.names and _source(name) not in left_out])
        else:
            pool, answers, earlier = self.learned_on
            if earlier is not None:
                earlier = self._left(earlier[0], left_out), earlier[1]
            fusion = Lessons(self._left(pool, left_out), answers, earlier).learn(settings)

        def rank(asked: Sequence[Person], allowed: NDArray[np.bool_] | None) -> Ints:
            pool = self._left(self._pool(asked, allowed), left_out)
            return pool.best(fusion.scores(pool), K)[0]

        return rank

    def _pool(self, asked: Sequence[Person], allowed: NDArray[np.bool_] | None) -> Pool:
        key = tuple(map(id, asked))
        if key not in self._asked:
            gatherer = self.recommender.fused_reading.gatherer
            seen = [np.unique(person.items) for person in asked]
            pools = gatherer.pools(asked, fewest=K, excluded=seen, allowed=allowed)
            self._asked[key] = Pool.joined([pool for _, pool, _ in pools])
        return self._asked[key]

    def _left(self, pool: Pool, left_out: frozenset[str]) -> Pool:
        depth = max(self.recommender.settings.fusion.depth, K)
        return without(pool, left_out, min(depth, len(self.recommender.parts.catalogue))) if left_out else pool


def without(pool: Pool, sources: Collection[str], depth: int) -> Pool:
    """A pool without the features of some sources, and without the candidates that they alone named.

    Parameters
    ----------
    depth
        How many candidates each source named.
    """
    names = tuple(name for name in pool.names if _source(name) not in sources)
    end = np.log1p(depth).astype(np.float32)
    ranks = [pool.column(name) for name in names if name.endswith(".rank")]
    named = np.min(ranks, axis=0) < end
    columns = [pool.names.index(name) for name in names]
    return Pool(pool.users[named], pool.items[named], pool.features[named][:, columns], names, pool.n_users)


def _source(feature: str) -> str:
    """The source that a feature is of."""
    return feature.rpartition(".")[0]
