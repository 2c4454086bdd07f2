"""The fusion stage: how much each source counts is learned on events that the sources have not seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flanrec.backbone import Backbone
from flanrec.backbone.prompts import PromptEncoder
from flanrec.catalogue.item_tokens import ItemTokens
from flanrec.catalogue.people import Person, people
from flanrec.catalogue.reviews import ReviewReader
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.ranking.boosting import BoostingSettings
from flanrec.ranking.content import Content
from flanrec.ranking.features import Features
from flanrec.ranking.fusion import Fusion
from flanrec.ranking.lessons import BASE, Lessons
from flanrec.ranking.pool import Pool
from flanrec.recommender.fused import MODEL, TOKENS, Gatherer, behaviour_of, content_of, reviews_of
from flanrec.recommender.readings import TokenReading
from flanrec.recommender.settings import RecommenderSettings
from flanrec.recommender.stages.material import Material

Floats = NDArray[np.float32]


def fuse(backbone: Backbone, material: Material, tokens: ItemTokens, titles: Floats, reader: ReviewReader) -> Fusion:
    """Learn the fusion from sources that saw the training log alone; without validation events nothing is learned.

    Parameters
    ----------
    tokens
        Tuned on the training log.
    titles
        float32 [n_items, d_model], of `title_states`.
    reader
        Reads what users wrote.
    """
    settings = material.settings
    if not material.asked:
        return Fusion.unlearned([name for name in BASE if name != "tokens.score" or settings.tokens_are_asked])
    content = content_of(tokens, titles, material.prompter.catalogue, material.facets)
    reading = TokenReading(tokens, PromptEncoder(backbone), material.prompter)
    return learned(lessons(material, reading, content, reader, language_model_sources(settings)), settings)


def learned(lessons: Lessons, settings: RecommenderSettings) -> Fusion:
    """Weights and trees, without the sources of the language model that held-out events do not confirm."""
    rounds = settings.fusion.rounds
    boosting = BoostingSettings(rounds=rounds) if rounds else None
    return Fusion.fit(lessons, boosting, settings.seed, judging=settings.fusion.language_model == "auto")


def language_model_sources(settings: RecommenderSettings) -> frozenset[str]:
    """The sources of the language model that may be fused."""
    if settings.fusion.language_model == "never":
        return frozenset()
    return MODEL if settings.tokens_are_asked else MODEL - TOKENS


def lessons(
    material: Material, reading: TokenReading, content: Content, reader: ReviewReader, heard: frozenset[str]
) -> Lessons:
    """The pools of the validation events, and of earlier ones where validation events are few.

    The sources that are asked about an event have not seen it, nor any later one of the same user. Item tokens are not
    asked about earlier events, which they saw in tuning.

    Parameters
    ----------
    heard
        Sources of the language model that are asked.
    """
    settings = material.settings
    depth = min(settings.fusion.depth, len(material.prompter.catalogue))
    pool = _pool(material.train, material.asked, material, reading, content, reader, heard)
    wanted, n_users = settings.fusion.events - len(material.asked), len(material.users)
    typical = int(np.median([len(user.items) for user in material.users])) if n_users else 0
    each = min(-(-wanted // max(n_users, 1)), typical // 5)
    found = Lessons(pool, material.first_answers, depth=depth)
    if each < 1:
        return found
    log, apart = hold_out_last(material.train, each)
    later = apart.sequences(apart.interactions["user_id"].unique(maintain_order=True).to_list())
    persons: list[Person] = []
    for user, person in enumerate(people(material.train, later.user_ids)):
        persons += [person.before(len(person.items) - left) for left in range(len(later.of(user)), 0, -1)]
    if not persons:
        return found
    earlier = _pool(log, persons, material, reading, content, reader, heard - TOKENS)
    return replace(found, earlier=(earlier, later.items))


def _pool(
    log: Dataset, persons: list[Person], material: Material, reading: TokenReading, content: Content,
    reader: ReviewReader, heard: frozenset[str],
) -> Pool:  # fmt: skip
    gatherer = Gatherer(
        behaviour_of(log, material.prompter.catalogue, material.facets),
        Features(material.settings.fusion.depth),
        reading,
        content,
        reviews_of(log, reader) if "written" in heard else None,
        heard,
    )
    pools = gatherer.pools(persons, excluded=[person.items for person in persons])
    return Pool.joined([pool for _, pool, _ in pools])
