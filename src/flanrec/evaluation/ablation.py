"""What each source is worth to the fused ranking: the ranking without it, the weights learned again.

Leaving a source out takes its features away and the candidates that it alone named. The weights, and the trees where
the recommender has them, are then learned on the events that the recommender's own were learned on. The language
model's sources have two rows more, with all of them and without any, whether or not the fusion listens to them. Where
only items without a past are ranked, behaviour reaches them through content alone: there one row is made, without all
that the language model tells.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.people import Person
from flanrec.catalogue.reviews import ReviewReader
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.evaluation.methods import Ints, K, Method, Ranking
from flanrec.evaluation.tasks import RankingTask
from flanrec.ranking.content import Newcomers
from flanrec.ranking.features import Features
from flanrec.ranking.fusion import Fusion
from flanrec.ranking.lessons import BASE, Lessons
from flanrec.ranking.pool import Pool, source_of
from flanrec.recommender import Recommender
from flanrec.recommender.asking import NOTHING
from flanrec.recommender.fused import Gatherer
from flanrec.recommender.new_items import rank_among
from flanrec.recommender.stages import Material, language_model_sources, learned, lessons

_UNKNOWN = float("nan")
ALL = "fused, learned again"
WITH_MODEL = "with the whole language model"
WITHOUT_MODEL = "without the language model"


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
        ALL: partial(sources.ranking, sources.unheard),
        WITH_MODEL: partial(sources.ranking, frozenset()),
        WITHOUT_MODEL: partial(sources.ranking, sources.model),
    }
    for name in sources.heard:
        rankings[f"without {name}"] = partial(sources.ranking, sources.unheard | {name})
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
    """What all sources say of the validation users and of those who ask, gathered once.

    The language model's are asked as well where the fusion does without them.
    """

    def __init__(self, recommender: Recommender, known: Dataset) -> None:
        self.recommender = recommender
        self.known = known
        settings = recommender.settings
        # What is left out is said by each row.
        kept = settings.fusion.model_copy(update={"language_model": "always"})
        self.settings = settings.model_copy(update={"fusion": kept})
        self.model = language_model_sources(self.settings)
        self._asked: dict[tuple[int, ...], Pool] = {}

    @property
    def unheard(self) -> frozenset[str]:
        """Sources of the language model that the recommender's own fusion does without."""
        return self.model - self.recommender.parts.fusion.sources

    @property
    def heard(self) -> list[str]:
        """The sources that the fusion listens to, or that name candidates."""
        used = self.recommender.parts.fusion.sources | (set(Features().naming) - self.unheard)
        scored = [source_of(name) for name in self._names if name.endswith(".score")]
        return [source for source in scored if source in used]

    @cached_property
    def learned_on(self) -> Lessons | None:
        """What the recommender's own fusion could learn on; None without validation users."""
        recommender, parts = self.recommender, self.recommender.parts
        train, validation = hold_out_last(self.known)
        material = Material.gather(train, validation, parts.prompter, self.settings, {})
        if not material.asked:
            return None
        reader = ReviewReader(recommender.backbone)
        return lessons(material, recommender.token_reading, parts.content, reader, self.model)

    def ranking(self, left_out: frozenset[str]) -> Ranking:
        """The ranking without some sources."""
        if self.learned_on is None:
            present = [name for name in BASE if name in self._names and source_of(name) not in left_out]
            fusion = Fusion.unlearned(present)
        else:
            fusion = learned(self.learned_on.without(left_out), self.settings)
        depth = min(max(self.settings.fusion.depth, K), self._gatherer.n_items)

        def rank(asked: Sequence[Person], allowed: NDArray[np.bool_] | None) -> Ints:
            pool = self._pool(asked, allowed).without(left_out, depth)
            return pool.best(fusion.scores(pool), K)[0]

        return rank

    def _pool(self, asked: Sequence[Person], allowed: NDArray[np.bool_] | None) -> Pool:
        key = tuple(map(id, asked))
        if key not in self._asked:
            seen = [np.unique(person.items) for person in asked]
            pools = self._gatherer.pools(asked, fewest=K, excluded=seen, allowed=allowed)
            self._asked[key] = Pool.joined([pool for _, pool, _ in pools])
        return self._asked[key]

    @property
    def _gatherer(self) -> Gatherer:
        return self.recommender.gatherer(self.model)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return next(self._gatherer.pools([Person.new()]))[1].names
