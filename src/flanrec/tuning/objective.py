"""What can be learnt: an objective draws examples, prepares them for the model, and says how wrong it is on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class LossSum:
    """The losses of some examples, added up."""

    total: Tensor
    """Sum of the losses, a scalar with a gradient."""
    count: float
    """Number of targets it sums over: a mean over several batches is the sum of totals by the sum of counts."""


class Objective(Protocol):
    """Something to learn: where its examples come from and how wrong the model is on them."""

    @property
    def name(self) -> str:
        """How reports and errors call it."""
        ...

    @property
    def apart(self) -> bool:
        """Whether examples are drawn apart from each other, so that a process need draw none but its own."""
        ...

    def draw(self, rng: np.random.Generator, size: int) -> list[Any]:
        """Return `size` light examples without tensors, by `rng` alone: no state may carry over between calls."""
        ...

    def prepare(self, examples: list[Any]) -> Any:
        """Return what `loss` takes of some drawn examples: tokenised and laid out, in main memory.

        Another process may do this ahead of the model. It must not touch the model's weights, and it returns numbers,
        texts, arrays and tensors, alone or in lists, dictionaries and named tuples.
        """
        ...

    def loss(self, prepared: Any) -> LossSum:
        """Return the summed loss of prepared examples; any randomness must come from torch's own generator."""
        ...


@runtime_checkable
class Predicting(Objective, Protocol):
    """An objective whose loss can be had from distributions, so that others may ask for these: see `consistency`."""

    def predict(self, prepared: Any) -> Tensor:
        """Read prepared examples: log-probabilities [n_places, n_choices], with a gradient."""
        ...

    def place_weights(self, prepared: Any) -> Tensor:
        """How much each place counts in the loss: float32 [n_places], in main memory."""
        ...

    def judge(self, predicted: Tensor, prepared: Any) -> LossSum:
        """Return the summed loss of what `predict` gave; `loss` is this of that."""
        ...


class PredictedLoss(ABC):
    """What most that are `Predicting` share: their loss is what they judge of their own predictions."""

    @abstractmethod
    def predict(self, prepared: Any) -> Tensor:
        """As `Predicting` has it."""

    @abstractmethod
    def judge(self, predicted: Tensor, prepared: Any) -> LossSum:
        """As `Predicting` has it."""

    def loss(self, prepared: Any) -> LossSum:
        """Sum as `judge` does."""
        return self.judge(self.predict(prepared), prepared)


@runtime_checkable
class Paced(Objective, Protocol):
    """An objective whose examples depend on how much of the run is done: see `curriculum`."""

    @property
    def pace(self) -> str:
        """How they do, in words that tell one run from another."""
        ...

    def draw_at(self, rng: np.random.Generator, size: int, progress: float) -> list[Any]:
        """As `draw`, which is this at the end; `progress` is 0 at the first step and 1 at the last."""
        ...


@dataclass(frozen=True)
class Weighted:
    """An objective and how often it has its turn, relative to the others."""

    objective: Objective
    weight: float = 1.0
    since: float = 0.0
    """Progress of the run, from 0 to 1, before which it has no turn."""
