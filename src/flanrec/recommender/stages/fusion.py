"""The fusion stage: how much each source counts is learned on events that the sources have not seen."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from flanrec.backbone import Backbone
from flanrec.backbone.prompts import PromptEncoder
from flanrec.catalogue.item_tokens import ItemTokens
from flanrec.catalogue.people import people
from flanrec.data.splits import hold_out_last
from flanrec.ranking.boosting import BoostingSettings
from flanrec.ranking.features import Features
from flanrec.ranking.fusion import BASE, Fusion
from flanrec.ranking.loglinear import LogLinear
from flanrec.ranking.pool import Pool
from flanrec.recommender.fused import Gatherer, behaviour_of, unit_texts
from flanrec.recommender.readings import TokenReading
from flanrec.recommender.stages.material import Material


def fuse(backbone: Backbone, material: Material, tokens: ItemTokens) -> Fusion:
    """Learn the fusion from sources that saw the training log alone; without validation events nothing is learned.

    Parameters
    ----------
    tokens
        Tuned on the training log.
    """
    settings = material.settings
    if not material.asked:
        return Fusion.unlearned([name for name in BASE if name != "tokens.score" or settings.tokens_are_fused])
    reading = TokenReading(tokens, PromptEncoder(backbone), material.prompter)
    gatherer = Gatherer(
        behaviour_of(material.train, material.prompter.catalogue, material.facets),
        Features(settings.fusion.depth),
        reading,
        unit_texts(tokens),
        spoken=settings.tokens_are_fused,
    )
    pools = [pool for _, pool, _ in gatherer.pools(material.asked, excluded=material.histories)]
    boosting = BoostingSettings(rounds=settings.fusion.rounds) if settings.fusion.rounds else None
    prior = _rehearsed(material, reading)
    return Fusion.fit(Pool.joined(pools), material.first_answers, boosting, settings.seed, prior)


def _rehearsed(material: Material, reading: TokenReading) -> Mapping[str, float]:
    """Weights learned on earlier events, where validation events are few: each user's last ones are set apart.

    The item tokens saw these events in tuning and so have no part in it.
    """
    wanted = material.settings.fusion.events
    lengths = [len(user.items) for user in material.users]
    each = min(int(np.ceil((wanted - len(material.asked)) / max(len(lengths), 1))), int(np.median(lengths or [0])) // 5)
    if each < 1:
        return MappingProxyType({})
    earlier, apart = hold_out_last(material.train, each)
    later = apart.sequences(apart.interactions["user_id"].unique(maintain_order=True).to_list())
    persons, answers = [], []
    for user, person in enumerate(people(material.train, later.user_ids)):
        items = later.of(user)
        persons += [person.before(len(person.items) - left) for left in range(len(items), 0, -1)]
        answers += items.tolist()
    gatherer = Gatherer(
        behaviour_of(earlier, material.prompter.catalogue, material.facets),
        Features(material.settings.fusion.depth),
        reading,
        unit_texts(reading.tokens),
        spoken=False,
    )
    histories = [person.items for person in persons]
    pool = Pool.joined([pool for _, pool, _ in gatherer.pools(persons, excluded=histories)])
    found = LogLinear.fit(pool, np.array(answers, dtype=np.int64), [name for name in BASE if name in pool.names])
    return MappingProxyType({}) if found is None else dict(zip(found.names, found.weights, strict=True))
