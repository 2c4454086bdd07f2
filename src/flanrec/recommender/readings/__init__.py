"""The three readings of a tuned model, each as scores for people of one catalogue."""

from flanrec.recommender.readings.match import MatchReading
from flanrec.recommender.readings.tokens import TokenReading
from flanrec.recommender.readings.words import WordReading

__all__ = ["MatchReading", "TokenReading", "WordReading"]
