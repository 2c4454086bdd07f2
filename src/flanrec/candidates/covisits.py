"""Co-visitation: what is met in one sitting with the newest items of a history, before or after them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flanrec.candidates.matrices import Matrix
from flanrec.candidates.pairs import CountsPairs, check_pairs
from flanrec.errors import SettingsError


@dataclass(frozen=True)
class Covisits(CountsPairs):
    """Settings of co-visitation counts, weighted by nearness in time.

    With ``C[i, j] = C[j, i]`` the sum of ``exp(-gap / span_seconds) / sqrt(distance)`` over all pairs of events up
    to `window` places apart in one user's history, an item scores
    ``sum_d 1 / d * C[i_d, j] / (sum(C[i_d]) + damping)``, where ``i_d`` is the item ``d`` places from the end of
    the history. Item-to-item counts as in Linden et al., "Amazon.com Recommendations", 2003; the fading with time
    keeps apart what one sitting and what years join.

    Attributes
    ----------
    window
        Farthest distance of a pair.
    span_seconds
        After how long a pair counts ``1 / e``; half an hour is what web analytics calls a session. A pair of which
        an event has no time counts as one without a gap.
    damping
        Evidence that each row must overcome.
    newest
        How many of the newest events are asked.
    """

    window: int = 30
    span_seconds: float = 1800.0
    damping: float = 20.0
    newest: int = 10

    def __post_init__(self) -> None:
        check_pairs(self.window, self.newest, self.damping)
        if not 0 < self.span_seconds < float("inf"):
            raise SettingsError(f"span_seconds must be a positive number, got {self.span_seconds}")

    @property
    def name(self) -> str:
        return "covisits"

    @property
    def asked(self) -> int:
        return self.newest

    def weights(self, distance: int, gaps: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.exp(-gaps / self.span_seconds) / np.sqrt(distance))

    def rows(self, counts: Matrix) -> Matrix:
        return counts + counts.T.tocsr()
