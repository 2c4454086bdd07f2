"""The fusion stage: how much each source counts is learned on the validation events."""

from __future__ import annotations

from flanrec.backbone import Backbone
from flanrec.backbone.prompts import PromptEncoder
from flanrec.catalogue.item_tokens import ItemTokens
from flanrec.ranking.boosting import BoostingSettings
from flanrec.ranking.features import Behaviour, Features
from flanrec.ranking.fusion import BASE, Fusion
from flanrec.ranking.pool import Pool
from flanrec.recommender.fused import Gatherer, unit_texts
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
    gatherer = Gatherer(
        Behaviour.fit(material.train.sequences(), material.facets.members, material.prompter.catalogue.years),
        Features(settings.fusion.depth),
        TokenReading(tokens, PromptEncoder(backbone), material.prompter),
        unit_texts(tokens),
        spoken=settings.tokens_are_fused,
    )
    pools = [pool for _, pool, _ in gatherer.pools(material.asked, excluded=material.histories)]
    boosting = BoostingSettings(rounds=settings.fusion.rounds) if settings.fusion.rounds else None
    return Fusion.fit(Pool.joined(pools), material.first_answers, boosting, settings.seed)
