"""The parameters a run trains: in groups with their own rates, copied, restored and averaged by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from flanrec.errors import SettingsError


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a learning rate.

    Those that do not require gradients are left out of training and of checkpoints, so a group may
    simply be ``dict(module.named_parameters())``.
    """

    name: str
    parameters: Mapping[str, Tensor]
    learning_rate: float
    weight_decay: float | None = None
    """None takes the trainer's."""

    def trained(self) -> dict[str, Tensor]:
        """Return the parameters of this group that require gradients, as ``group/parameter``."""
        return {f"{self.name}/{name}": value for name, value in self.parameters.items() if value.requires_grad}


def trained_parameters(groups: Sequence[ParameterGroup]) -> dict[str, Tensor]:
    """Return every trained parameter of all groups by its full name.

    Raises
    ------
    SettingsError
        Two groups of one name, a parameter that is listed twice (tied weights are one parameter with
        two names), a rate that is not above 0, a result of an operation in place of a parameter,
        trained parameters on two devices, or nothing to train at all.
    """
    if len({group.name for group in groups}) < len(groups):
        raise SettingsError(f"Two parameter groups have one name: {sorted(group.name for group in groups)}.")
    everything: dict[str, Tensor] = {}
    owner: dict[int, str] = {}
    for group in groups:
        if not group.learning_rate > 0:
            raise SettingsError(f"Group {group.name!r} has learning rate {group.learning_rate}; it must be above 0.")
        for name, value in group.trained().items():
            if not value.is_leaf:
                raise SettingsError(f"{name} is computed from other tensors; give the parameters themselves.")
            if id(value) in owner:
                raise SettingsError(f"{name} is the same parameter as {owner[id(value)]}; list it once.")
            owner[id(value)] = name
            everything[name] = value
    if not everything:
        raise SettingsError("No parameter of any group requires gradients, so there is nothing to train.")
    devices = sorted({str(value.device) for value in everything.values()})
    if len(devices) > 1:
        raise SettingsError(f"The trained parameters are on several devices ({', '.join(devices)}); move them to one.")
    return everything


def copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies in main memory that later updates do not change."""
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}


def viewed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors in main memory, without a copy where they are there already."""
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


@torch.no_grad()
def restore(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Write values into the parameters of the same names; both must have the same names."""
    for name, parameter in parameters.items():
        parameter.copy_(values[name])


class MovingAverage:
    """An exponential moving average of parameters, in float32.

    After update t, counted from 0, the average moves by 1 - min(decay, (1 + t) / (10 + t)) of the way to
    the parameters, so that the first steps, which are far from the result, are soon forgotten.
    """

    def __init__(self, parameters: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.values = {name: value.detach().float().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self, parameters: Mapping[str, Tensor]) -> None:
        """Move towards the parameters' values."""
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in self.values.items():
            value.lerp_(parameters[name].detach().float(), weight)
        self.updates += 1

    @contextmanager
    def in_place_of(self, parameters: Mapping[str, Tensor]) -> Iterator[None]:
        """Give the parameters the averaged values inside the block."""
        own = {name: value.detach().clone() for name, value in parameters.items()}
        try:
            restore(parameters, self.values)
            yield
        finally:
            restore(parameters, own)
