"""The recommender: fitted on a log, asked for items, saved and loaded."""

from flanrec.recommender.answering import READINGS, Reading
from flanrec.recommender.asking import Asking
from flanrec.recommender.calibration import Calibration
from flanrec.recommender.core import Recommender
from flanrec.recommender.distilling import Distilled, distill
from flanrec.recommender.settings import (
    PRESETS,
    Augmentation,
    DistillationSettings,
    RecommenderSettings,
    TaskWeights,
    TokenTuning,
    WordTuning,
)
from flanrec.recommender.transfer import transferred
from flanrec.recommender.updating import UpdateReport, UpdateSettings

__all__ = [
    "PRESETS",
    "READINGS",
    "Asking",
    "Augmentation",
    "Calibration",
    "DistillationSettings",
    "Distilled",
    "Reading",
    "Recommender",
    "RecommenderSettings",
    "TaskWeights",
    "TokenTuning",
    "UpdateReport",
    "UpdateSettings",
    "WordTuning",
    "distill",
    "transferred",
]
