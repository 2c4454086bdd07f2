"""Item transitions: what tends to come soon after the newest items of a history."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flanrec.candidates.matrices import Matrix
from flanrec.candidates.pairs import CountsPairs, check_pairs


@dataclass(frozen=True)
class Transitions(CountsPairs):
    """Settings of a damped Markov chain over pairs within a window.

    With ``T[i, j]`` the sum of ``1 / distance`` over all events of ``j`` that came up to `window` places after
    ``i`` in one user's history, an item scores ``sum_d 1 / d * T[i_d, j] / (sum(T[i_d]) + damping)``, where
    ``i_d`` is the item ``d`` places before the next one. A Markov chain with skipping, as in Shani et al., "An
    MDP-Based Recommender System", 2005, with other weights.

    Attributes
    ----------
    window
        Farthest distance of a pair, and how many of the newest events are asked.
    damping
        Evidence that each row must overcome: rarely seen items speak softly.
    backward
        Ask what tends to come shortly *before* the newest items instead: what a user who is in the middle of a
        series has skipped.
    """

    window: int = 3
    damping: float = 20.0
    backward: bool = False

    def __post_init__(self) -> None:
        check_pairs(self.window, self.asked, self.damping)

    @property
    def name(self) -> str:
        return "backward-transitions" if self.backward else "transitions"

    @property
    def asked(self) -> int:
        return self.window

    def weights(self, distance: int, gaps: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.full(len(gaps), 1 / distance)

    def rows(self, counts: Matrix) -> Matrix:
        return counts.T.tocsr() if self.backward else counts
