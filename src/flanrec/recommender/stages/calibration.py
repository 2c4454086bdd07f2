"""The calibration stage: the match probability is fitted on the validation events."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flanrec.backbone import Backbone
from flanrec.generation.engines import TorchEngine
from flanrec.recommender.calibration import Calibration
from flanrec.recommender.readings import MatchReading
from flanrec.recommender.stages.material import Material


def calibrate(backbone: Backbone, material: Material) -> Calibration:
    """Fit the match probability on the validation events; as it is where they cannot tell.

    An untuned T5 is not asked: its words weigh nothing.
    """
    silent = material.settings.words.steps == 0
    begin = Calibration(words=0.0) if silent else Calibration()
    rows = np.flatnonzero(~np.isnan(material.answer_ratings))
    if not len(rows):
        return begin
    reading = MatchReading(TorchEngine(backbone), material.prompter, material.rates, begin)
    rule, words = reading.odds([material.asked[row] for row in rows], material.first_answers[rows].tolist())
    liked = material.answer_ratings[rows] >= material.settings.liked_rating
    if silent:
        return replace(Calibration.fit(rule, words, liked), words=0.0)
    return Calibration.chosen(rule, words, liked)
