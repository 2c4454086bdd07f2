"""What an objective says of given examples."""

from __future__ import annotations

from typing import Any

from flanrec.tuning import LossSum, Objective


def loss_of(objective: Objective, examples: list[Any]) -> LossSum:
    return objective.loss(objective.prepare(examples))
