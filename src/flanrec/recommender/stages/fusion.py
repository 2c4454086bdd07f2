"""The fusion stage: how much each source counts is learned on events that the sources have not seen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flanrec.backbone import Backbone
from flanrec.backbone.prompts import PromptEncoder
from flanrec.catalogue.item_tokens import ItemTokens
from flanrec.catalogue.people import Person, people
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.ranking.boosting import BoostingSettings
from flanrec.ranking.content import Content
from flanrec.ranking.features import Features
from flanrec.ranking.fusion import BASE, Fusion
from flanrec.ranking.pool import Pool
from flanrec.recommender.fused import Gatherer, behaviour_of, content_of
from flanrec.recommender.readings import TokenReading
from flanrec.recommender.settings import RecommenderSettings
from flanrec.recommender.stages.material import Material

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


class Lessons(NamedTuple):
    """What a fusion is learned on.

    Attributes
    ----------
    pool, answers
        Of the validation events.
    earlier
        Of events before them, without the item tokens, which saw these events in tuning; None where validation events
        are enough.
    """

    pool: Pool
    answers: Ints
    earlier: tuple[Pool, Ints] | None

    def learn(self, settings: RecommenderSettings) -> Fusion:
        """Weights and trees."""
        rounds = settings.fusion.rounds
        boosting = BoostingSettings(rounds=rounds) if rounds else None
        return Fusion.fit(self.pool, self.answers, boosting, settings.seed, self.earlier)


def fuse(backbone: Backbone, material: Material, tokens: ItemTokens, titles: Floats) -> Fusion:
    """Learn the fusion from sources that saw the training log alone; without validation events nothing is learned.

    Parameters
    ----------
    tokens
        Tuned on the training log.
    titles
        float32 [n_items, d_model], of `title_states`.
    """
    settings = material.settings
    if not material.asked:
        return Fusion.unlearned([name for name in BASE if name != "tokens.score" or settings.tokens_are_fused])
    content = content_of(tokens, titles, material.prompter.catalogue, material.facets)
    reading = TokenReading(tokens, PromptEncoder(backbone), material.prompter)
    return lessons(material, reading, content).learn(settings)


def lessons(material: Material, reading: TokenReading, content: Content) -> Lessons:
    """The pools of the validation events, and of earlier ones where validation events are few.

    The sources that are asked about an event have not seen it, nor any later one of the same user.
    """
    settings = material.settings
    pool = _pool(material.train, material.asked, material, reading, content, settings.tokens_are_fused)
    wanted, n_users = settings.fusion.events - len(material.asked), len(material.users)
    typical = int(np.median([len(user.items) for user in material.users])) if n_users else 0
    each = min(-(-wanted // max(n_users, 1)), typical // 5)
    if each < 1:
        return Lessons(pool, material.first_answers, None)
    log, apart = hold_out_last(material.train, each)
    later = apart.sequences(apart.interactions["user_id"].unique(maintain_order=True).to_list())
    persons: list[Person] = []
    for user, person in enumerate(people(material.train, later.user_ids)):
        persons += [person.before(len(person.items) - left) for left in range(len(later.of(user)), 0, -1)]
    if not persons:
        return Lessons(pool, material.first_answers, None)
    return Lessons(pool, material.first_answers, (_pool(log, persons, material, reading, content, False), later.items))


def _pool(
    log: Dataset, persons: list[Person], material: Material, reading: TokenReading, content: Content, spoken: bool
) -> Pool:
    gatherer = Gatherer(
        behaviour_of(log, material.prompter.catalogue, material.facets),
        Features(material.settings.fusion.depth),
        reading,
        content,
        spoken=spoken,
    )
    pools = gatherer.pools(persons, excluded=[person.items for person in persons])
    return Pool.joined([pool for _, pool, _ in pools])
