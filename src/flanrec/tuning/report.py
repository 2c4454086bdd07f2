"""What a training run tells while it goes and when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Stopped = Literal["finished", "early", "interrupted", "given up", "failed"]


@dataclass(frozen=True)
class StepRecord:
    """One update."""

    step: int
    """Counted from 1."""
    steps: int
    """Updates in the whole run."""
    objective: str
    loss: float
    """Mean over the targets of the whole batch, before the update."""
    gradient_norm: float
    """Before clipping."""
    rates: dict[str, float]
    """Learning rate of each parameter group."""
    examples: int
    """Examples seen so far, those before a resume included."""
    seconds: float
    """Training time so far, evaluations and the time before a resume included."""


@dataclass(frozen=True)
class Sample:
    """What the model says to one instruction."""

    prompt: str
    predicted: tuple[str, ...]
    """Titles, best first."""
    expected: str
    """The title that came next."""


@dataclass(frozen=True)
class Evaluation:
    """The metrics after a step."""

    step: int
    metrics: dict[str, float]
    improved: bool
    """Whether the primary metric is the best so far."""
    samples: Sequence[Sample] = field(default=(), compare=False, repr=False)
    """What was said to some of those who were asked; callbacks have it, reports and checkpoints do not."""


@dataclass
class TrainingReport:
    """The course of a run."""

    steps: int = 0
    """Updates made."""
    losses: list[float] = field(default_factory=list)
    """Loss of each update."""
    objectives: list[str] = field(default_factory=list)
    """Objective of each update."""
    evaluations: list[Evaluation] = field(default_factory=list)
    best_step: int | None = None
    """Step of the best evaluation; None when there was none."""
    best_value: float | None = None
    """Primary metric at `best_step`."""
    seconds: float = 0.0
    """Training time, evaluations included; the time before a resume counts."""
    examples: int = 0
    """Examples seen."""
    trained: int = 0
    """Numbers in the trained parameters."""
    stopped: Stopped = "finished"
    """``given up`` and ``failed`` are seen by callbacks only: the error itself is raised."""

    @property
    def since_improvement(self) -> int:
        """Evaluations made after the best one."""
        return sum(evaluation.step > (self.best_step or 0) for evaluation in self.evaluations)
