"""Anchors: penalties that hold weights near where they were, so that what is learnt anew costs less of the old.

``strength / 2 * sum_i F_i * (w_i - w0_i)^2``, where ``w0`` are the weights at the start and ``F_i`` says how much
weight ``i`` matters to what was learnt before. With ``F_i = 1`` it is L2-SP (Li, Grandvalet and Davoine, "Explicit
inductive bias for transfer learning with convolutional networks", 2018, eq. 2); with the diagonal of the Fisher
information it is elastic weight consolidation (Kirkpatrick et al., "Overcoming catastrophic forgetting in neural
networks", 2017, eq. 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from flanrec.errors import SettingsError
from flanrec.tuning.batches import BatchPlan
from flanrec.tuning.objective import Weighted
from flanrec.tuning.processes import Processes


class Anchor:
    """A penalty on moving weights, for `Trainer(companions=...)`.

    Parameters
    ----------
    parameters
        The weights that are held, by name; where they are now is where they are held.
    strength
        At least 0; 0 is no penalty.
    importance
        By the same names, how much each weight matters, of the weights' shapes and at least 0; by default all matter
        alike, which is L2-SP. A weight without importance is free.
    name
        How checkpoints and errors call it.

    Raises
    ------
    SettingsError
        The strength is negative, or the importance does not fit the weights.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> anchor = Anchor({"w": weight}, strength=0.5)
    >>> with torch.no_grad():
    ...     _ = weight.add_(torch.tensor([0.0, 2.0]))
    >>> float(anchor.penalty())
    1.0
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        strength: float,
        importance: Mapping[str, Tensor] | None = None,
        *,
        name: str = "anchor",
    ) -> None:
        if not strength >= 0:
            raise SettingsError(f"the strength of a penalty is {strength}; it must be at least 0")
        self.name = name
        self.strength = strength
        self.parameters = dict(parameters)
        self.importance = None if importance is None else _fitting(self.parameters, importance)
        self.origin = {key: value.detach().clone() for key, value in self.parameters.items()}

    def penalty(self) -> Tensor | None:
        """The penalty as a scalar with a gradient; None where nothing is held."""
        if not self.strength or not self.parameters:
            return None
        parts = []
        for key, value in self.parameters.items():
            away = (value - self.origin[key]).square()
            parts.append((away if self.importance is None else away * self.importance[key]).sum().float())
        return self.strength / 2 * torch.stack(parts).sum()

    def after_step(self, step: int) -> None:
        """Nothing changes from step to step."""

    def state(self) -> dict[str, Tensor]:
        """Nothing: a resumed run begins at the same weights and with the same importance, before it goes on."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to restore."""


def diagonal_fisher(
    parameters: Mapping[str, Tensor],
    objectives: Sequence[Weighted],
    *,
    batches: int = 8,
    batch_size: int = 4,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Estimate how much each weight matters to what some objectives teach: the diagonal of the Fisher information.

    It is the mean over examples of the squared gradient of their loss, at the weights as they are and at the examples'
    own answers. The gradient of a batch is squared as a whole: where the weights are near an optimum, gradients of
    single examples cancel in the mean, and the square of their sum is on average the sum of their squares. With one
    example a batch it is exact.

    Parameters
    ----------
    parameters
        With gradients required. Put their modules into evaluation mode before, or dropout has a say.
    objectives
        What was learnt before; each batch is of one of them, drawn by weight.
    batches, batch_size
        What is looked at: a forward and a backward pass each.
    seed
        Of the draws.

    Returns
    -------
    dict
        By name: of the weight's shape, at least 0.

    Raises
    ------
    SettingsError
        No batch or an empty one is asked for.
    """
    if batches < 1 or batch_size < 1:
        raise SettingsError(f"batches is {batches} and batch_size {batch_size}; both must be at least 1")
    plan = BatchPlan(objectives, seed, batch_size, 1, Processes())
    weights = list(parameters.values())
    sums = [torch.zeros_like(value, dtype=torch.float32) for value in weights]
    count = 0.0
    for number in range(1, batches + 1):
        batch = plan[number]
        for _, prepared in batch.slices:
            loss = objectives[batch.objective].objective.loss(prepared)
            if not loss.count > 0:
                continue
            found = torch.autograd.grad(loss.total, weights, allow_unused=True)
            for total, gradient in zip(sums, found, strict=True):
                if gradient is not None:
                    total.addcmul_(gradient.float(), gradient.float())
            count += loss.count
    return {name: total / max(count, 1.0) for name, total in zip(parameters, sums, strict=True)}


def relative(importance: Mapping[str, Tensor], most: float = 1000.0) -> dict[str, Tensor]:
    """Importance with a mean of one over all weights, so that a strength means as much as for L2-SP.

    Parameters
    ----------
    most
        Upper bound on the importance of a single weight, in means: a few weights, of norms above all, matter thousands
        of times more than the mean, and a step in proportion to that would overshoot.

    Examples
    --------
    >>> relative({"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([2.0])})["a"].tolist()
    [0.5, 1.5]
    """
    count = sum(value.numel() for value in importance.values())
    mean = sum(float(value.sum()) for value in importance.values()) / max(count, 1)
    if not mean > 0:
        return dict(importance)
    return {name: (value / mean).clamp(max=most) for name, value in importance.items()}


def _fitting(parameters: Mapping[str, Tensor], importance: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The importance of each parameter, on its device."""
    if set(importance) != set(parameters):
        different = sorted(set(importance) ^ set(parameters))
        raise SettingsError(f"importance and weights have different names, such as {different[0]!r}")
    for name, value in parameters.items():
        if importance[name].shape != value.shape or bool((importance[name] < 0).any()):
            raise SettingsError(f"the importance of {name} must be at least 0 and of shape {tuple(value.shape)}")
    return {name: importance[name].to(value.device) for name, value in parameters.items()}
