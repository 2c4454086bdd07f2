"""What goes along with the steps of a run: penalties on the weights, and schedules that change the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from flanrec.errors import CheckpointError


class Companion(Protocol):
    """Goes along with every step; the same in all processes of a run, as the gradients are."""

    @property
    def name(self) -> str:
        """How checkpoints and errors call it."""
        ...

    def penalty(self) -> Tensor | None:
        """A scalar that is added to the mean loss of every step; None for nothing."""
        ...

    def after_step(self, step: int) -> None:
        """After the update of a step, counted from 1; the gradients are still there."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs to go on, beside weights and optimiser."""
        ...

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what `state` told."""
        ...


def add_penalties(companions: Sequence[Companion]) -> None:
    """Add the gradients of all penalties to those of the loss."""
    for companion in companions:
        penalty = companion.penalty()
        if penalty is not None and penalty.requires_grad:
            penalty.backward()  # type: ignore[no-untyped-call]


def states_of(companions: Sequence[Companion]) -> dict[str, Tensor]:
    """The states of all companions as ``name/key``, in main memory."""
    return {
        f"{companion.name}/{key}": value.detach().cpu().contiguous()
        for companion in companions
        for key, value in companion.state().items()
    }


def restore_companions(companions: Sequence[Companion], states: Mapping[str, Tensor]) -> None:
    """Give each companion its own part of what `states_of` returned.

    Raises
    ------
    CheckpointError
        A state belongs to a companion that is not here.
    """
    parts: dict[str, dict[str, Tensor]] = {companion.name: {} for companion in companions}
    for full, value in states.items():
        name, _, key = full.partition("/")
        if name not in parts:
            raise CheckpointError(f"The checkpoint has a state of {name!r}, which does not go along with this run.")
        parts[name][key] = value
    for companion in companions:
        companion.restore(parts[companion.name])
