"""Objectives around an objective: they change what is drawn or how it is judged, and leave the rest to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from flanrec.tuning.objective import LossSum, Objective


class Around:
    """Is what the objective in it is, but for what a subclass changes."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    @property
    def name(self) -> str:
        """The objective's own."""
        return self.objective.name

    @property
    def apart(self) -> bool:
        """The objective's own."""
        return self.objective.apart

    def draw(self, rng: np.random.Generator, size: int) -> list[Any]:
        """Draw what the objective draws."""
        return self.objective.draw(rng, size)

    def prepare(self, examples: list[Any]) -> Any:
        """Prepare as the objective does."""
        return self.objective.prepare(examples)

    def loss(self, prepared: Any) -> LossSum:
        """Sum as the objective does."""
        return self.objective.loss(prepared)
