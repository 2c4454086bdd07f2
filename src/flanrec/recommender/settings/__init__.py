"""The settings of a recommender, a file a group."""

from flanrec.recommender.settings.base import TeacherName
from flanrec.recommender.settings.mixture import Augmentation, TaskWeights
from flanrec.recommender.settings.readings import FusionSettings, TokenTuning
from flanrec.recommender.settings.whole import PRESETS, Preset, RecommenderSettings
from flanrec.recommender.settings.words import METHOD_RATES, DistillationSettings, WordMethod, WordTuning

__all__ = [
    "METHOD_RATES",
    "PRESETS",
    "Augmentation",
    "DistillationSettings",
    "FusionSettings",
    "Preset",
    "RecommenderSettings",
    "TaskWeights",
    "TeacherName",
    "TokenTuning",
    "WordMethod",
    "WordTuning",
]
