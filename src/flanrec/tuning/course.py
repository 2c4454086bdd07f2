"""What changes in the course of a run, to be written down and taken up again."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor

from flanrec.tuning.checkpoints import TrainingState
from flanrec.tuning.companions import Companion, restore_companions, states_of
from flanrec.tuning.optimisers import build_optimiser, optimiser_state, restore_optimiser
from flanrec.tuning.parameters import MovingAverage, ParameterGroup, copied, restore, viewed
from flanrec.tuning.report import TrainingReport
from flanrec.tuning.settings import TrainerSettings


class Course:
    """Weights, optimiser, average, the best weights so far, and the report.

    Parameters
    ----------
    parameters
        Those that are trained, by name.
    groups, settings, companions
        Of the run.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        groups: Sequence[ParameterGroup],
        settings: TrainerSettings,
        companions: Sequence[Companion] = (),
    ) -> None:
        self.parameters = parameters
        self.companions = companions
        self.optimiser = build_optimiser(groups, settings)
        self.average = MovingAverage(parameters, settings.average) if settings.average else None
        self.best: dict[str, Tensor] | None = None
        self.report = TrainingReport()

    def averaged(self) -> AbstractContextManager[None]:
        """Inside the block the parameters have their averages, if there are any."""
        return self.average.in_place_of(self.parameters) if self.average else contextlib.nullcontext()

    def judge(self, value: float) -> bool:
        """Keep the present weights if they are the best so far; whether they are."""
        report = self.report
        improved = not math.isnan(value) and (report.best_value is None or value > report.best_value)
        if improved:
            self.best = copied(self.parameters)
            report.best_step, report.best_value = report.steps, value
        return improved

    def take_result(self) -> None:
        """Give the parameters the best weights, or the averages, where there are any."""
        if self.best is not None:
            restore(self.parameters, self.best)
        elif self.average is not None:
            restore(self.parameters, self.average.values)

    def state(self, fingerprint: dict[str, Any]) -> TrainingState:
        """All that a run needs to go on; not copies: write them before the next step."""
        tensors, numbers = optimiser_state(self.optimiser, self.parameters)
        return TrainingState(
            self.report,
            viewed(self.parameters),
            tensors,
            numbers,
            None if self.average is None else viewed(self.average.values),
            0 if self.average is None else self.average.updates,
            self.best,
            fingerprint,
            states_of(self.companions),
        )

    def restore(self, state: TrainingState) -> None:
        """Go back to what `state` told."""
        restore(self.parameters, state.weights)
        restore_optimiser(self.optimiser, self.parameters, state.optimiser_tensors, state.optimiser_numbers)
        if self.average is not None and state.average is not None:
            device = next(iter(self.parameters.values())).device
            self.average.values = {name: value.to(device) for name, value in state.average.items()}
            self.average.updates = state.average_updates
        restore_companions(self.companions, state.companions)
        self.best, self.report = state.best, state.report
