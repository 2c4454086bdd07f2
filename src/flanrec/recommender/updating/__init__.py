"""Continual learning: a saved recommender learns new users, items and events without being fitted again.

Events that arrived are learnt beside replayed old ones, weights are held near where they were, and the result takes the
old model's place only if events that this update does not learn do not speak against it.
"""

from flanrec.recommender.updating.gate import Check
from flanrec.recommender.updating.relearning import Choice
from flanrec.recommender.updating.report import UpdateReport
from flanrec.recommender.updating.run import update
from flanrec.recommender.updating.settings import Gate, Penalty, TokenUpdate, UpdateSettings, WordUpdate

__all__ = [
    "Check",
    "Choice",
    "Gate",
    "Penalty",
    "TokenUpdate",
    "UpdateReport",
    "UpdateSettings",
    "WordUpdate",
    "update",
]
