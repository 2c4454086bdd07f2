"""New examples beside replayed old ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from flanrec.errors import SettingsError
from flanrec.tuning.around import Around
from flanrec.tuning.objective import Objective


class Replayed(Around):
    """An objective whose batches hold old examples beside new ones, so that learning these does not undo those.

    Inputs
    ------
    ===== ==============================================================
    new   draws what is to be learnt
    old   the same objective of the same model, draws what is known
    ===== ==============================================================

    Parameters
    ----------
    share
        Share of the examples that are old: each is so by chance.

    Raises
    ------
    SettingsError
        `share` is not from 0 to 1.

    References
    ----------
    Robins, "Catastrophic forgetting, rehearsal and pseudorehearsal", 1995; Rolnick et al., "Experience replay for
    continual learning", 2019.
    """

    def __init__(self, new: Objective, old: Objective, share: float) -> None:
        if not 0 <= share <= 1:
            raise SettingsError(f"the share of replayed examples is {share}; it must be between 0 and 1")
        super().__init__(new)
        self.old = old
        self.share = share

    def draw(self, rng: np.random.Generator, size: int) -> list[Any]:
        """Draw new examples, then old ones."""
        old = int((rng.random(size) < self.share).sum())
        return [*self.objective.draw(rng, size - old), *self.old.draw(rng, old)]
