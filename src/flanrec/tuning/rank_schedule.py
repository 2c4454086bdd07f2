"""AdaLoRA's schedule: ranks fall where they matter least, and the singular vectors are kept apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from flanrec.errors import SettingsError

_AVERAGE, _UNCERTAINTY, _KEPT = "average", "uncertainty", "kept"


class RankSchedule:
    """Goes along with the tuning of an AdaLoRA adapter, as `add_adapter` puts it in.

    A change of a map is P diag(E) Q. After every step each triplet of a singular value and its vectors is scored by
    the smoothed product of weight and gradient; by the budget of the step, which falls from the first to the last rank
    along a cubic curve, the values of the least are set to zero. A penalty keeps P and Q orthogonal.

    Peft has the rule; here it is called with the steps, and its memory is put into checkpoints, without which a
    resumed run would drop other ranks.

    Raises
    ------
    SettingsError
        The model has no AdaLoRA adapter.

    References
    ----------
    Zhang et al., "Adaptive budget allocation for parameter-efficient fine-tuning", 2023.
    """

    name = "rank schedule"

    def __init__(self, model: Any) -> None:
        if not hasattr(getattr(model, "base_model", None), "rankallocator"):
            raise SettingsError("The model has no AdaLoRA adapter, so there are no ranks to allot.")
        self.tuner: Any = model.base_model
        self.allocator: Any = self.tuner.rankallocator
        self.config = self.tuner.peft_config["default"]
        self.weights: dict[str, nn.Parameter] = {
            name: weight for name, weight in self.tuner.model.named_parameters() if "lora_" in name
        }
        self.steps = int(self.config.total_step)

    @property
    def kept(self) -> int:
        """How many ranks are not zero, over all maps."""
        return sum(int((weight != 0).sum()) for name, weight in self.weights.items() if "lora_E" in name)

    def penalty(self) -> Tensor | None:
        """How far the singular vectors are from orthogonal, the mean over all matrices, weighted as in the paper."""
        found = []
        for name, weight in self.weights.items():
            if "lora_A" in name or "lora_B" in name:
                square = weight @ weight.T if "lora_A" in name else weight.T @ weight
                found.append(torch.linalg.matrix_norm(square - torch.eye(len(square), device=square.device)))
        return float(self.config.orth_reg_weight) * torch.stack(found).mean()

    def after_step(self, step: int) -> None:
        """Score the ranks, and set those beyond the budget of the step to zero."""
        for weight in self.weights.values():
            if weight.grad is None and weight.requires_grad:  # no example of the step reached it
                weight.grad = torch.zeros_like(weight)
        scoring = step < self.steps - int(self.config.tfinal)
        if scoring or self.allocator.exp_avg_ipt or self.config.rank_pattern:  # a run of one step never scores
            self.tuner.update_and_allocate(step)

    def state(self) -> dict[str, Tensor]:
        """Smoothed scores and, once they are settled, the ranks that are kept."""
        allocator = self.allocator
        told = {f"{_AVERAGE}/{name}": value for name, value in allocator.exp_avg_ipt.items()}
        told |= {f"{_UNCERTAINTY}/{name}": value for name, value in allocator.exp_avg_unc.items()}
        pattern = self.config.rank_pattern or {}
        return told | {f"{_KEPT}/{name}": torch.tensor(kept, dtype=torch.bool) for name, kept in pattern.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what `state` told."""
        self.allocator.reset_ipt()
        pattern: dict[str, list[bool]] = {}
        for full, value in state.items():
            kind, _, name = full.partition("/")
            if kind == _KEPT:
                pattern[name] = value.tolist()
            else:
                place = self.weights[name].device
                scores = self.allocator.exp_avg_ipt if kind == _AVERAGE else self.allocator.exp_avg_unc
                scores[name] = value.to(place)
                self.allocator.ipt[name] = torch.zeros_like(scores[name])
        self.config.rank_pattern = pattern or None
