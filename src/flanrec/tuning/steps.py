"""Objectives, and one step of training on one of them: draw, pass the batch through in slices, clip."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from flanrec.errors import SettingsError

_SHOWN_EXAMPLES = 4
_SHOWN_CHARACTERS = 300


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

    def draw(self, rng: np.random.Generator, size: int) -> list[Any]:
        """Return `size` light examples without tensors, by `rng` alone: no state may carry over between calls."""
        ...

    def loss(self, examples: list[Any]) -> LossSum:
        """Return the summed loss of some of the drawn examples; any randomness must come from torch's own generator."""
        ...


@dataclass(frozen=True)
class Weighted:
    """An objective and how often it has its turn, relative to the others."""

    objective: Objective
    weight: float = 1.0


class NonFiniteLossError(SettingsError):
    """Raised when a loss or a gradient is not finite; the weights are still those of the step before."""


class StepResult(NamedTuple):
    """What `accumulate_gradients` did."""

    objective: str
    loss: float
    examples: int


def draw_batch(objectives: Sequence[Weighted], seed: int, step: int, size: int) -> tuple[Objective, list[Any]]:
    """Choose an objective by weight and let it draw, from (seed, step) alone."""
    rng = np.random.default_rng([seed, step])
    weights = np.array([weighted.weight for weighted in objectives], dtype=np.float64)
    objective = objectives[int(rng.choice(len(objectives), p=weights / weights.sum()))].objective
    return objective, objective.draw(rng, size)


def accumulate_gradients(
    objectives: Sequence[Weighted],
    parameters: Mapping[str, Tensor],
    *,
    seed: int,
    step: int,
    batch_size: int,
    accumulation: int,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> StepResult:
    """Set the parameters' gradients to those of the mean loss over one whole batch.

    The batch is drawn at once and passed through the model in slices; the sum of their gradients is
    divided by the number of all targets. How the batch is sliced therefore changes nothing but rounding.

    Raises
    ------
    NonFiniteLossError
        A loss is not finite. The message names objective, step and examples.
    SettingsError
        An objective draws nothing, or has no targets in the whole batch.
    """
    objective, examples = draw_batch(objectives, seed, step, batch_size * accumulation)
    if not examples:
        raise SettingsError(f"Objective {objective.name!r} drew no examples in step {step}; it has none to learn from.")
    # Dropout follows (seed, step) too, so that a resumed run drops the same.
    torch.manual_seed(int(np.random.SeedSequence([seed, step, 1]).generate_state(1, np.uint64)[0] >> np.uint64(1)))
    for parameter in parameters.values():
        parameter.grad = None
    total, count = 0.0, 0.0
    for start in range(0, len(examples), batch_size):
        piece = examples[start : start + batch_size]
        with autocast():
            loss = objective.loss(piece)
        value = float(loss.total.detach())
        if not math.isfinite(value):
            raise NonFiniteLossError(_describe_failure(objective, piece, step, value, autocast))
        if loss.count > 0:
            loss.total.backward()  # type: ignore[no-untyped-call]
        total += value
        count += loss.count
    if count <= 0:
        raise SettingsError(
            f"Objective {objective.name!r} has no targets in the {len(examples)} examples of step {step}; "
            "check that its examples are not cut to nothing."
        )
    gradients = [parameter.grad for parameter in parameters.values() if parameter.grad is not None]
    if not gradients:
        raise SettingsError(f"Objective {objective.name!r} does not depend on any trained parameter.")
    torch._foreach_div_(gradients, count)
    return StepResult(objective.name, total / count, len(examples))


def clip_gradients(parameters: Mapping[str, Tensor], limit: float | None, step: int, objective: str) -> float:
    """Scale all gradients down together to a norm of at most `limit`, and return the norm they had.

    Raises
    ------
    NonFiniteLossError
        The norm is not finite; the message names the parameters.
    """
    reached = [parameter for parameter in parameters.values() if parameter.grad is not None]
    norm = float(torch.nn.utils.get_total_norm([p.grad for p in reached if p.grad is not None]))
    if not math.isfinite(norm):
        at_fault = [
            name for name, p in parameters.items() if p.grad is not None and not bool(torch.isfinite(p.grad).all())
        ]
        raise NonFiniteLossError(
            f"The gradients of objective {objective!r} are not finite in step {step}, first in {at_fault[:3]}. "
            "Lower the learning rate, lengthen the warm-up, or use autocast 'off'."
        )
    if limit is not None and norm > limit:
        torch.nn.utils.clip_grads_with_norm_(reached, limit, torch.tensor(norm, device=reached[0].device))
    return norm


def _describe_failure(
    objective: Objective,
    examples: list[Any],
    step: int,
    value: float,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> str:
    """Say which examples of a slice have no finite loss by themselves."""
    at_fault = []
    with torch.no_grad():
        for example in examples:
            with autocast():
                if not bool(torch.isfinite(objective.loss([example]).total)):
                    at_fault.append(example)
    if len(at_fault) in (0, len(examples)):
        which = f"none of the {len(examples)} examples alone" if not at_fault else f"all {len(examples)} examples"
        advice = "The weights have grown too far: lower the learning rate or lengthen the warm-up."
    else:
        which = f"{len(at_fault)} of {len(examples)} examples"
        advice = "Look at these examples: an empty or absurd target gives such a loss."
    shown = "; ".join(_shortened(example) for example in (at_fault or examples)[:_SHOWN_EXAMPLES])
    return (
        f"Objective {objective.name!r} has loss {value} in step {step}, from {which}. {advice} "
        f"The weights are those of step {step - 1}. Examples: {shown}"
    )


def _shortened(example: Any) -> str:
    text = repr(example)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."
