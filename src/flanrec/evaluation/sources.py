"""The sources of the fused ranking as methods of their own, and the readings of a fitted recommender."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from flanrec.backbone.prompts import PromptEncoder
from flanrec.candidates import Blend, Ease, Popularity
from flanrec.catalogue.people import Person
from flanrec.data.profiles import attributes_of_users
from flanrec.evaluation.methods import Floats, Ints, K, Method, Ranking, by_scores
from flanrec.evaluation.tasks import RankingTask
from flanrec.ranking.behaviour import Behaviour, likeness
from flanrec.ranking.voices import VOICES, Voice
from flanrec.recommender import Reading, Recommender

_AMONG_PEERS = (Ease(decay=1.0), Popularity())
_FROM_EVENTS = ("recent", "audience")
_FROM_ITEMS = ("kind", "years")
_UNKNOWN = float("nan")


def closed_form_methods() -> list[Method]:
    """The blend, and every source that needs behaviour alone and is not among the peers.

    Those that hear times and attributes are computed together, so that the time of one alone is not known.
    """
    voices = [
        Method(name, "source", repr(voice), partial(_voice, voice=voice))
        for name, voice in VOICES.items()
        if voice.source not in _AMONG_PEERS
    ]
    blend = Method("blend", "source", repr(Blend()), _blend)
    return [blend, *voices, *_behaviour_methods(_FROM_EVENTS, None, "")]


def item_methods(recommender: Recommender, identity: str) -> list[Method]:
    """The sources that compare items: by kind, by year, by what the encoder makes of their text, and by reviews.

    Parameters
    ----------
    identity
        Tells one recommender from another.
    """
    content = recommender.parts.content

    def text(task: RankingTask, *, compare: Callable[[Sequence[Ints]], Floats]) -> Ranking:
        return by_scores(lambda asked: compare(_histories(asked)))

    comparers: dict[str, Callable[[Sequence[Ints]], Floats]] = {
        "text": partial(likeness, content.texts),
        "nearest": content.nearest,
    }
    alike = [
        Method(name, "source", f"{name} of texts as {identity} encodes them", partial(text, compare=compare))
        for name, compare in comparers.items()
    ]
    reviews = recommender.parts.reviews
    if reviews is not None:
        known = f"reviews as {identity} encodes them"
        alike.append(Method("written", "source", known, lambda task: by_scores(reviews.scores)))
    return [*_behaviour_methods(_FROM_ITEMS, recommender, f"items as {identity} knows them"), *alike]


def reading_methods(
    recommender: Recommender, readings: Sequence[Reading], identity: str, fit_seconds: float
) -> list[Method]:
    """Each reading of a recommender that was fitted on the task's known events.

    Parameters
    ----------
    identity
        Tells one recommender from another.
    fit_seconds
        What the one fit of all readings took.
    """
    return [
        Method(name, "reading", identity, partial(_reading, recommender=recommender, name=name), fit_seconds)
        for name in readings
    ]


def _reading(task: RankingTask, *, recommender: Recommender, name: Reading) -> Ranking:
    # What was encoded for another reading would make this one look faster.
    rested = Recommender(recommender.backbone, recommender.settings)
    read = recommender.parts.read_reviews
    encoder = PromptEncoder(recommender.backbone)
    rested.adopt(replace(recommender.parts, encoder=encoder, read_reviews=read and read.rested()))
    ids = recommender.parts.catalogue.item_ids

    def rank(asked: Sequence[Person], allowed: NDArray[np.bool_] | None) -> Ints:
        only = None if allowed is None else [ids[at] for at in np.flatnonzero(allowed)]
        return rested.rank(asked, K, reading=name, only=only)[0]

    return rank


def _blend(task: RankingTask) -> Ranking:
    fitted = Blend().fit(task.known.sequences())
    return by_scores(lambda asked: fitted.scores(_histories(asked)))


def _voice(task: RankingTask, *, voice: Voice) -> Ranking:
    log = task.known.sequences()
    fitted = voice.source.fit(log)
    shares = Popularity().fit(log).scores([np.zeros(0, dtype=np.int64)])[0]

    def scores(asked: Sequence[Person]) -> Floats:
        return voice.scaled(fitted.scores(_histories(asked)), shares)

    return by_scores(scores)


def _behaviour_methods(names: Sequence[str], recommender: Recommender | None, settings: str) -> list[Method]:
    """Sources that `Behaviour` makes together; those that compare items need a recommender, which knows the items."""

    @lru_cache(maxsize=1)
    def fitted(task: RankingTask) -> Behaviour:
        if recommender is not None:
            return recommender.parts.behaviour
        members = np.zeros((task.n_items, 1), dtype=bool)
        log = task.known.sequences()
        told = attributes_of_users(task.known, log.user_ids)
        return Behaviour.fit(log, [told.get(user, {}) for user in log.user_ids], members, [None] * task.n_items)

    def fit(task: RankingTask, *, name: str) -> Ranking:
        behaviour = fitted(task)
        return by_scores(lambda asked: behaviour.scores(asked)[name])

    return [
        Method(name, "source", f"{name} {settings}".strip(), partial(fit, name=name), _UNKNOWN, _UNKNOWN)
        for name in names
    ]


def _histories(asked: Sequence[Person]) -> list[Ints]:
    return [person.items for person in asked]
