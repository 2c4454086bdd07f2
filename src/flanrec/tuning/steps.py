"""One step of training on one batch: its slices through the model, gradients added over all processes, clipped."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from flanrec.errors import SettingsError
from flanrec.tuning.batches import Batch, BatchPlan
from flanrec.tuning.objective import Objective

_SHOWN_EXAMPLES = 4
_SHOWN_CHARACTERS = 300

Autocast = Callable[[], AbstractContextManager[Any]]


class NonFiniteLossError(SettingsError):
    """Raised when a loss or a gradient is not finite; the weights are still those of the step before."""


class StepResult(NamedTuple):
    """What `accumulate_gradients` did."""

    objective: str
    loss: float
    examples: int
    interrupted: bool
    """Whether any process was asked to stop."""


def accumulate_gradients(
    plan: BatchPlan,
    batch: Batch,
    parameters: Mapping[str, Tensor],
    *,
    step: int,
    autocast: Autocast,
    interrupted: bool = False,
) -> StepResult:
    """Set the parameters' gradients to those of the mean loss over one whole batch, the same in all processes.

    The batch passes through the model in slices; the sum of their gradients is divided by the number of all targets.
    How the batch is sliced, and over how many processes, therefore changes nothing but rounding and what dropout drops.

    Parameters
    ----------
    plan, batch
        Who made the batch, and this process's part of it.
    interrupted
        Whether this process was asked to stop; the answer tells whether any was.

    Raises
    ------
    NonFiniteLossError
        A loss is not finite. The message names objective, step and examples.
    SettingsError
        An objective draws nothing, or has no targets in the whole batch.
    """
    objective, device = plan.objectives[batch.objective].objective, next(iter(parameters.values())).device
    if not batch.examples:
        raise SettingsError(f"Objective {objective.name!r} drew no examples in step {step}; it has none to learn from.")
    for parameter in parameters.values():
        parameter.grad = None
    total, count, failure = 0.0, 0.0, ""
    for number, prepared in batch.slices:
        # Dropout follows (seed, step, slice), so that a resumed run drops the same, in however many processes.
        torch.manual_seed(dropout_seed(plan.seed, step, number))
        with autocast():
            loss = objective.loss(prepared)
        value = float(loss.total.detach())
        if not math.isfinite(value):
            failure = _describe_failure(plan, objective, number, step, value, autocast)
            break
        if loss.count > 0:
            loss.total.backward()  # type: ignore[no-untyped-call]
        total += value
        count += loss.count
    told = [total, count, float(bool(failure)), float(interrupted)]
    told += [float(parameter.grad is not None) for parameter in parameters.values()]
    if plan.processes.count > 1:
        together = torch.tensor(told, dtype=torch.float64, device=device)
        plan.processes.add([together])
        told = together.tolist()
    total, count, failures, asked, *reached = told
    if failures:
        raise NonFiniteLossError(failure or f"Another process has a loss that is not finite in step {step}; see there.")
    if count <= 0:
        raise SettingsError(
            f"Objective {objective.name!r} has no targets in the {batch.examples} examples of step {step}; "
            "check that its examples are not cut to nothing."
        )
    gradients = [_gradient_of(parameter) for parameter, some in zip(parameters.values(), reached, strict=True) if some]
    if not gradients:
        raise SettingsError(f"Objective {objective.name!r} does not depend on any trained parameter.")
    plan.processes.add(gradients)
    torch._foreach_div_(gradients, count)
    return StepResult(objective.name, total / count, batch.examples, asked > 0)


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


def dropout_seed(seed: int, step: int, number: int) -> int:
    """What torch's generator begins with before a slice of a step."""
    return int(np.random.SeedSequence([seed, step, 1 + number]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _gradient_of(parameter: Tensor) -> Tensor:
    """The gradient of a parameter that some process's slices reach; zeros where this process's do not."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _describe_failure(
    plan: BatchPlan, objective: Objective, number: int, step: int, value: float, autocast: Autocast
) -> str:
    """Say which examples of a slice have no finite loss by themselves; they are drawn once more."""
    examples = plan.draw(step)[2][number]
    at_fault = []
    with torch.no_grad():
        for example in examples:
            with autocast():
                if not bool(torch.isfinite(objective.loss(objective.prepare([example])).total)):
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
