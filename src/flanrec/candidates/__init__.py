"""Sources of candidates that know behaviour alone: each scores the whole catalogue for any history.

No source needs torch, and all but `Factors` have a closed form.
"""

from __future__ import annotations

from flanrec.candidates.alike import FittedUserNeighbours, UserNeighbours
from flanrec.candidates.base import Scorer, Source
from flanrec.candidates.blend import Blend, FittedBlend
from flanrec.candidates.covisits import Covisits
from flanrec.candidates.ease import Ease, FittedEase
from flanrec.candidates.factors import Factors, FittedFactors
from flanrec.candidates.neighbours import FittedNeighbours, ItemNeighbours
from flanrec.candidates.pairs import FittedPairs
from flanrec.candidates.popularity import FittedPopularity, Popularity
from flanrec.candidates.transitions import Transitions

__all__ = [
    "Blend",
    "Covisits",
    "Ease",
    "Factors",
    "FittedBlend",
    "FittedEase",
    "FittedFactors",
    "FittedNeighbours",
    "FittedPairs",
    "FittedPopularity",
    "FittedUserNeighbours",
    "ItemNeighbours",
    "Popularity",
    "Scorer",
    "Source",
    "Transitions",
    "UserNeighbours",
]
