"""The stages of a fit, one a file: words, item tokens, calibration, fusion; `material` is what they share."""

from flanrec.recommender.stages.calibration import calibrate
from flanrec.recommender.stages.fusion import fuse, language_model_sources, learned, lessons
from flanrec.recommender.stages.material import Callbacks, Material
from flanrec.recommender.stages.tokens import tune_tokens
from flanrec.recommender.stages.tutoring import tutor_of
from flanrec.recommender.stages.words import refuse_earlier, tune_words, tuned_words, words_are_tuned

__all__ = [
    "Callbacks",
    "Material",
    "calibrate",
    "fuse",
    "language_model_sources",
    "learned",
    "lessons",
    "refuse_earlier",
    "tune_tokens",
    "tune_words",
    "tuned_words",
    "tutor_of",
    "words_are_tuned",
]
