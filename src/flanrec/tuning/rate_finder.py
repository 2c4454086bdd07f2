"""The learning-rate range test: at which rates a loss falls, and from which it explodes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from flanrec.errors import SettingsError
from flanrec.tuning.companions import add_penalties
from flanrec.tuning.interrupts import PoliteInterrupt
from flanrec.tuning.optimisers import build_optimiser, set_rates
from flanrec.tuning.parameters import copied, restore
from flanrec.tuning.steps import NonFiniteLossError, StepResult, accumulate_gradients, clip_gradients
from flanrec.tuning.trainer import Trainer

RangeStopped = Literal["steps", "diverged", "not finite", "interrupted"]
_MEMORY = 0.9
_DIVERGED = 4.0
_NOTHING = 1e-6
_STRETCH = 0.05
_FALL = 0.01
"""Share of the loss at the start that it must fall by before anything is suggested."""


@dataclass(frozen=True)
class RateCurve:
    """The course of a range test.

    Attributes
    ----------
    rates
        Of the first parameter group, one an update; those of the others stood in proportion.
    objectives, losses
        Whose turn it was, and the loss before the update, which followed the update at the rate before.
    smoothed
        The loss of the whole mixture, smoothed: see `find_rate`.
    untrained
        The mean loss of all the test's batches before it: what `smoothed` begins with.
    stopped
        What ended it: its number of steps, a smoothed loss of four times the best, one that is not finite, or the user.
    proportions
        Of each parameter group, its rate by that of the first.
    planned
        Updates that the test would have made to its end.
    """

    rates: tuple[float, ...]
    objectives: tuple[str, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    untrained: float
    stopped: RangeStopped
    proportions: dict[str, float]
    planned: int

    @property
    def lowest(self) -> int | None:
        """The place of the lowest smoothed loss; None where the loss did not fall."""
        if not self.smoothed or not min(self.smoothed) < (1 - _FALL) * self.untrained:
            return None
        return int(np.argmin(self.smoothed))

    @property
    def steepest(self) -> float | None:
        """The middle of the twentieth of the test in which the smoothed loss falls most; None where it did not fall."""
        if not self.lowest:
            return None
        width = max(1, min(self.lowest, round(_STRETCH * self.planned)))
        falls = [self.smoothed[at + width] - self.smoothed[at] for at in range(max(1, self.lowest - width + 1))]
        return self.rates[int(np.argmin(falls)) + width // 2]

    @property
    def tenth(self) -> float | None:
        """A tenth of the rate of the lowest smoothed loss; None where it did not fall."""
        return None if self.lowest is None else self.rates[self.lowest] / 10


def find_rate(
    trainer: Trainer,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    progress: Callable[[int], None] = lambda done: None,
) -> RateCurve:
    """Raise the rates of a run from update to update, and see what becomes of its loss; the weights stay as they were.

    Parameters
    ----------
    trainer
        Whose objectives, parameter groups, batches and optimiser are taken; nothing of it is changed.
    low, high
        Of the first parameter group; rates rise exponentially, those of all groups by the same factor.
    steps
        Updates. Before them the losses of their batches are measured once in the same way, which takes as long again.
    progress
        Called after each batch of either kind with 1.

    Returns
    -------
    RateCurve
        After Ctrl-C what there is so far.

    Raises
    ------
    SettingsError
        The bounds or the steps leave nothing to test, or several processes train together.

    Notes
    -----
    Each step trains one objective of the mixture, and their losses differ by far more than an update changes. So each
    loss is divided by that of the same batch, with the same dropout, at the start. The logarithms of these shares are
    smoothed by a moving average for each objective, with the correction for its beginning, and scale what the objective
    contributes to the mean loss at the start.

    References
    ----------
    Smith, "Cyclical learning rates for training neural networks", WACV 2017, section 3.3; the smoothing and the stop at
    four times the best are those of fastai.
    """
    if not (0 < low < high < math.inf):
        raise SettingsError(f"the rates go from {low} to {high}; give finite rates above 0, the lower one first")
    if steps < 10:
        raise SettingsError(f"steps is {steps}; give at least 10, or the rates rise too fast to see anything")
    if trainer.processes.count > 1:
        raise SettingsError("a rate is sought in one process; start it without a launcher")
    before, test = copied(trainer.parameters), _RangeTest(trainer, low, high, steps, progress)
    devices = [trainer.device] if trainer.device.type == "cuda" else []
    trainer.set_mode(training=True)
    try:
        with torch.random.fork_rng(devices=devices), PoliteInterrupt() as interrupt:
            stopped = test.run(interrupt)
    finally:
        restore(trainer.parameters, before)
        for parameter in trainer.parameters.values():
            parameter.grad = None
        trainer.set_mode(training=False)
    return test.curve(stopped)


@dataclass
class _Average:
    """A moving average with the correction for its beginning."""

    total: float = 0.0
    weight: float = 0.0

    def add(self, value: float) -> None:
        self.total = _MEMORY * self.total + (1 - _MEMORY) * value
        self.weight = _MEMORY * self.weight + (1 - _MEMORY)

    @property
    def value(self) -> float:
        return self.total / self.weight


class _RangeTest:
    """The updates of a range test, and what was seen."""

    def __init__(self, trainer: Trainer, low: float, high: float, steps: int, progress: Callable[[int], None]) -> None:
        self.trainer = trainer
        self.planned = np.geomspace(low, high, steps)
        self.progress = progress
        self.first = trainer.groups[0].learning_rate
        self.optimiser = build_optimiser(trainer.groups, trainer.settings)
        self.starts: list[float] = []
        self.shares: dict[str, float] = {}
        self.averages: dict[str, _Average] = {}
        self.objectives: list[str] = []
        self.losses: list[float] = []
        self.smoothed: list[float] = []

    def run(self, interrupt: PoliteInterrupt) -> RangeStopped:
        """Measure all batches, then make the updates; returns what ended them."""
        for step in range(1, len(self.planned) + 1):
            try:
                result = self._accumulate(step)
            except NonFiniteLossError:
                return "not finite"
            self.starts.append(result.loss)
            self.shares[result.objective] = self.shares.get(result.objective, 0.0) + result.loss / len(self.planned)
            self.progress(1)
            if interrupt.asked:
                return "interrupted"
        for step, rate in enumerate(self.planned, start=1):
            try:
                self._update(step, float(rate))
            except NonFiniteLossError:
                return "not finite"
            self.progress(1)
            if self.smoothed[-1] > _DIVERGED * min(self.smoothed):
                return "diverged"
            if interrupt.asked:
                return "interrupted"
        return "steps"

    def curve(self, stopped: RangeStopped) -> RateCurve:
        """What was seen."""
        groups = self.trainer.groups
        return RateCurve(
            tuple(self.planned[: len(self.losses)].tolist()),
            tuple(self.objectives),
            tuple(self.losses),
            tuple(self.smoothed),
            float(np.mean(self.starts)) if self.starts else math.nan,
            stopped,
            {group.name: group.learning_rate / self.first for group in groups},
            len(self.planned),
        )

    def _accumulate(self, step: int) -> StepResult:
        """The loss of a batch, and its gradients: without them adversarial training would have half the loss."""
        trainer = self.trainer
        return accumulate_gradients(
            trainer.plan, trainer.plan[step], trainer.parameters, step=step, autocast=trainer.autocast_block
        )

    def _update(self, step: int, rate: float) -> None:
        trainer = self.trainer
        result = self._accumulate(step)
        add_penalties(trainer.companions)
        clip_gradients(trainer.parameters, trainer.settings.clip_norm, step, result.objective)
        change = math.log(max(result.loss, _NOTHING) / max(self.starts[step - 1], _NOTHING))
        self.averages.setdefault(result.objective, _Average()).add(change)
        self.objectives.append(result.objective)
        self.losses.append(result.loss)
        changes = {name: average.value for name, average in self.averages.items()}
        self.smoothed.append(sum(share * math.exp(changes.get(name, 0.0)) for name, share in self.shares.items()))
        set_rates(self.optimiser, trainer.groups, rate / self.first)
        self.optimiser.step()
