"""Optimisers by name, and their state as plain tensors and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.optimization import Adafactor

from flanrec.errors import CheckpointError
from flanrec.tuning.parameters import ParameterGroup
from flanrec.tuning.settings import TrainerSettings

_FUSED_DEVICES = frozenset({"cpu", "cuda", "mps"})


def build_optimiser(groups: Sequence[ParameterGroup], settings: TrainerSettings) -> torch.optim.Optimizer:
    """Make the optimiser that the settings name over the trained parameters.

    AdamW is fused (one pass over memory) where torch can. Adafactor runs at the given rates, without
    its own relative steps and scaling by parameter size (what T5 was pretrained with was relative;
    fine-tuning works better with a set rate, such as 1e-3). SGD has momentum ``betas[0]``.
    """
    options: list[dict[str, Any]] = []
    for group in groups:
        values = list(group.trained().values())
        if values:
            decay = settings.weight_decay if group.weight_decay is None else group.weight_decay
            options.append({"params": values, "lr": group.learning_rate, "weight_decay": decay, "name": group.name})
    if settings.optimizer == "adafactor":
        adafactor: torch.optim.Optimizer = Adafactor(options, scale_parameter=False, relative_step=False)
        return adafactor
    if settings.optimizer == "sgd":
        return torch.optim.SGD(options, momentum=settings.betas[0])
    values = [value for option in options for value in option["params"]]
    fused = all(value.device.type in _FUSED_DEVICES and value.is_floating_point() for value in values)
    return torch.optim.AdamW(options, betas=settings.betas, fused=fused)


def set_rates(optimiser: torch.optim.Optimizer, groups: Sequence[ParameterGroup], factor: float) -> dict[str, float]:
    """Set each group's learning rate to its own times `factor`, and return the rates by group name."""
    base = {group.name: group.learning_rate for group in groups}
    for option in optimiser.param_groups:
        option["lr"] = base[option["name"]] * factor
    return {option["name"]: float(option["lr"]) for option in optimiser.param_groups}


def optimiser_state(
    optimiser: torch.optim.Optimizer, parameters: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, float | int | None]]:
    """Take the optimiser's state apart into tensors for safetensors and numbers for JSON.

    Returns
    -------
    tensors, numbers
        Both by ``group/parameter#state``. A parameter that no gradient has reached yet has none. The
        tensors are not copies: write them before the next step.
    """
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, float | int | None] = {}
    for name, parameter in parameters.items():
        for key, value in optimiser.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{name}#{key}"] = value.detach().cpu().contiguous()
            else:
                numbers[f"{name}#{key}"] = value
    return tensors, numbers


def restore_optimiser(
    optimiser: torch.optim.Optimizer,
    parameters: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    numbers: Mapping[str, float | int | None],
) -> None:
    """Give an optimiser the state that `optimiser_state` took from another.

    This does not go through ``Optimizer.load_state_dict``, which rounds float32 state to the format of
    bf16 parameters and would so change the run.

    Raises
    ------
    CheckpointError
        The state names a parameter that is not trained here.
    """
    optimiser.state.clear()
    fused = bool(optimiser.param_groups[0].get("fused"))
    for full, value in [*tensors.items(), *numbers.items()]:
        name, _, key = full.rpartition("#")
        if name not in parameters:
            raise CheckpointError(f"The optimiser state names {name!r}, which is not a trained parameter here.")
        parameter = parameters[name]
        if isinstance(value, Tensor):
            # Step counters stay in main memory unless the fused kernel reads them.
            value = value.clone() if key == "step" and not fused else value.to(parameter.device, copy=True)
        optimiser.state.setdefault(parameter, {})[key] = value
