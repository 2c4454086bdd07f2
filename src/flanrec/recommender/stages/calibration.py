"""The calibration stage: the match probability is fitted on the validation events."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flanrec.backbone import Backbone
from flanrec.catalogue.demonstrations import Demonstrations
from flanrec.catalogue.people import People
from flanrec.generation.engines import TorchEngine
from flanrec.recommender.calibration import Calibration
from flanrec.recommender.readings import MatchReading
from flanrec.recommender.stages.material import Material


def calibrate(backbone: Backbone, material: Material) -> Calibration:
    """Fit the match probability on the validation events; as it is where they cannot tell.

    A T5 that was never tuned is not asked, unless it is shown solved examples: its words weigh nothing.
    """
    settings = material.settings
    silent = settings.words.steps == 0 and not settings.origin and settings.shots == 0
    begin = Calibration(words=0.0) if silent else Calibration()
    rows = np.flatnonzero(~np.isnan(material.answer_ratings))
    if not len(rows):
        return begin
    shown = None
    if settings.shots:
        shown = Demonstrations(People.of(material.train), material.prompter, settings.shot_tokens, settings.seed)
    reading = MatchReading(TorchEngine(backbone), material.prompter, material.rates, begin, shown, settings.shots)
    rule, words = reading.odds([material.asked[row] for row in rows], material.first_answers[rows].tolist())
    liked = material.answer_ratings[rows] >= settings.liked_rating
    if silent:
        return replace(Calibration.fit(rule, words, liked), words=0.0)
    return Calibration.chosen(rule, words, liked)
