"""From settings to the prompter."""

from __future__ import annotations

from pathlib import Path

from flanrec.backbone import Backbone
from flanrec.catalogue import Catalogue
from flanrec.catalogue.prompter import Prompter
from flanrec.instructions import Templates
from flanrec.recommender.settings import RecommenderSettings


def make_prompter(backbone: Backbone, catalogue: Catalogue, settings: RecommenderSettings) -> Prompter:
    """The prompter that settings ask for."""
    extra = [Path(path) for path in settings.templates]
    return Prompter(
        catalogue,
        tuple(Templates.load(language, extra) for language in settings.languages),
        backbone.token_count,
        noun=settings.noun,
        nouns=settings.nouns,
        max_tokens=settings.max_tokens,
        titles=settings.titles,
        liked_rating=settings.liked_rating,
    )
