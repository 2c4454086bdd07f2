"""Whether the parts of a run fit together, and whether two runs are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from flanrec.errors import CheckpointError, SettingsError
from flanrec.tuning.companions import Companion
from flanrec.tuning.objective import Paced, Weighted
from flanrec.tuning.parameters import ParameterGroup
from flanrec.tuning.settings import TrainerSettings

_FREE_TO_CHANGE = frozenset({"checkpoint_every", "checkpoint_seconds", "keep_checkpoints", "autocast", "workers"})


def run_fingerprint(
    settings: TrainerSettings,
    groups: Sequence[ParameterGroup],
    objectives: Sequence[Weighted],
    primary: str,
    autocast: str,
    identity: Mapping[str, str],
    companions: Sequence[Companion] = (),
) -> dict[str, Any]:
    """Return everything that decides the course of a run, as plain JSON values by a name that a person can read."""
    facts: dict[str, Any] = {
        name: value for name, value in settings.model_dump(mode="json").items() if name not in _FREE_TO_CHANGE
    }
    facts["autocast"] = autocast
    facts["primary"] = primary
    for group in groups:
        facts[f"learning_rate of group {group.name!r}"] = group.learning_rate
        facts[f"weight_decay of group {group.name!r}"] = group.weight_decay
        for name, value in group.trained().items():
            facts[f"shape of {name}"] = list(value.shape)
            facts[f"number format of {name}"] = str(value.dtype)
    for weighted in objectives:
        name = weighted.objective.name
        facts[f"weight of objective {name!r}"] = weighted.weight
        # Only where there is a curriculum, so that runs without one go on from checkpoints of earlier versions.
        if weighted.since:
            facts[f"beginning of objective {name!r}"] = weighted.since
        if isinstance(weighted.objective, Paced):
            facts[f"pace of objective {name!r}"] = weighted.objective.pace
    if companions:
        facts["companions"] = [companion.name for companion in companions]
    facts.update({f"identity {name!r}": value for name, value in identity.items()})
    return facts


def refuse_difference(path: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Raise CheckpointError, naming what differs, unless two fingerprints are the same.

    `path` is the checkpoint that `theirs` comes from.
    """
    different = [name for name in dict.fromkeys([*theirs, *ours]) if theirs.get(name) != ours.get(name)]
    if different:
        told = "; ".join(f"{name} was {theirs.get(name)!r} and is now {ours.get(name)!r}" for name in different[:5])
        more = f" (and {len(different) - 5} more)" if len(different) > 5 else ""
        raise CheckpointError(
            f"{path} belongs to a run with other data or settings: {told}{more}. "
            "Give the same ones to resume it, start in another folder, or remove this one and begin again."
        )


def refuse_misfits(
    modules: Mapping[str, nn.Module], parameters: Mapping[str, Any], objectives: Sequence[Weighted],
    settings: TrainerSettings, evaluates: bool, primary: str, folder: Path | None,
) -> None:  # fmt: skip
    """Raise SettingsError when the parts of a trainer do not fit together."""
    if not objectives or not all(weighted.weight > 0 for weighted in objectives):
        raise SettingsError("Give at least one objective, each with a weight above 0.")
    names = [weighted.objective.name for weighted in objectives]
    if len(set(names)) < len(names):
        raise SettingsError(f"Two objectives have one name: {sorted(names)}.")
    if not any(weighted.since <= 0 for weighted in objectives):
        raise SettingsError("No objective has its turn at the first step; let one begin at progress 0.")
    if evaluates and not primary:
        raise SettingsError("With evaluate, say which of its metrics is primary.")
    if settings.patience is not None and not evaluates:
        raise SettingsError("patience needs evaluate: without evaluations nothing tells when to stop.")
    late = [weighted.objective.name for weighted in objectives if weighted.since > 0]
    if settings.patience is not None and late:
        raise SettingsError(
            f"With patience the run may end before {', '.join(late)} had a turn; leave patience out, or choose another "
            "curriculum than families."
        )
    if folder is None and (settings.checkpoint_every is not None or settings.checkpoint_seconds is not None):
        raise SettingsError("checkpoint_every and checkpoint_seconds need a folder to write into.")
    known = {id(parameter) for parameter in parameters.values()}
    loose = [
        f"{name}.{key}"
        for name, module in modules.items()
        for key, parameter in module.named_parameters()
        if parameter.requires_grad and id(parameter) not in known
    ]
    if loose:
        raise SettingsError(
            f"{len(loose)} parameters require gradients but are in no group, such as {loose[0]}. "
            "Add them to a group, or freeze them with requires_grad_(False)."
        )
