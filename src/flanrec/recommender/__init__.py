"""The recommender: fitted on a log, asked for items, saved and loaded."""

from flanrec.recommender.answering import READINGS, Reading
from flanrec.recommender.asking import Asking
from flanrec.recommender.calibration import Calibration
from flanrec.recommender.core import Recommender
from flanrec.recommender.settings import PRESETS, RecommenderSettings, TaskWeights, TokenTuning, WordTuning

__all__ = [
    "PRESETS",
    "READINGS",
    "Asking",
    "Calibration",
    "Reading",
    "Recommender",
    "RecommenderSettings",
    "TaskWeights",
    "TokenTuning",
    "WordTuning",
]
