"""Adversarial training: the loss beside the loss where the embeddings of the prompts are moved for the worse."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flanrec.backbone import Backbone
from flanrec.backbone.perturbation import perturbation
from flanrec.backbone.rows import Rows
from flanrec.tuning.around import Around
from flanrec.tuning.objective import LossSum, Objective

_STRIDE = 2.5
"""Length of a climb of several steps, in radii (Madry et al., "Towards deep learning models resistant to adversarial
attacks", 2018)."""


class AdversarialObjective(Around):
    """An objective whose loss is that of its examples and that of the same examples made harder.

    The embeddings of each prompt are moved uphill, along the gradient of the loss, by `size` of their own norm. With
    one step that is FGM, ``eps * g / |g|``; with several it is FreeLB: each step goes on from the last, none leaves the
    ball of radius eps, and the loss is taken on the way, after every step, as the mean. FreeLB begins at random; here
    the first step begins at the prompt itself, whose loss is wanted too. All passes drop the same values.

    One step costs twice the time of the objective alone, and k steps cost 1 + k times; logged losses are about twice as
    high. In memory there is one pass at a time: each but the last adds its gradients to the parameters' ``grad`` at
    once, so that the total that is returned has the value of all and the gradient of the last. Call ``backward`` on it
    as it is, and put other wrappers inside this one. Without gradients the loss is the objective's own.

    Prompts that are read without gradients, and by other ways than `encoder_states`, stay as they are.

    Inputs
    ------
    ========= ===============================================
    objective any that reads prompts through `encoder_states`
    backbone  the T5 that reads them
    ========= ===============================================

    Parameters
    ----------
    size
        Norm of the change, as a share of the norm of the prompt's embeddings: the scale of embeddings differs between
        checkpoints, and Miyato et al. bring it to one beforehand.
    steps
        How often the change is bettered.

    References
    ----------
    FGM: Miyato, Dai and Goodfellow, "Adversarial training methods for semi-supervised text classification", 2017.
    FreeLB: Zhu et al., "FreeLB: enhanced adversarial training for natural language understanding", 2020.
    """

    def __init__(self, objective: Objective, backbone: Backbone, *, size: float = 0.02, steps: int = 1) -> None:
        super().__init__(objective)
        self.backbone = backbone
        self.size = size
        self.steps = steps

    def loss(self, prepared: Any) -> LossSum:
        """Sum the losses as they are and, averaged over the steps, where it is harder; the count is the objective's."""
        if not torch.is_grad_enabled():
            return self.objective.loss(prepared)
        shifts = Shifts()
        found = self._pass(prepared, shifts)
        if found.count <= 0 or not shifts.values or not bool(torch.isfinite(found.total)):
            return found
        total = self._settled(found.total)
        for left in reversed(range(self.steps)):
            shifts.climb(self.size, min(1.0, _STRIDE / self.steps), further=left > 0)
            harder = self._pass(prepared, shifts).total / self.steps
            total = total + (self._settled(harder) if left else harder)
        return LossSum(total, found.count)

    def _pass(self, prepared: Any, shifts: Shifts) -> LossSum:
        shifts.begin()
        device = self.backbone.device
        # The next pass draws the same noise, so that the change is the worst for the very network that meets it.
        forked = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
        with forked, perturbation(self.backbone.model, shifts):
            return self.objective.loss(prepared)

    def _settled(self, total: Tensor) -> Tensor:
        """Add the gradients of a loss to those that are there, and let go of everything but its value."""
        with torch.autocast(self.backbone.device.type, enabled=False):
            total.backward()  # type: ignore[no-untyped-call]
        return total.detach()


class Shifts:
    """What is added to the embeddings of the prompts that one loss reads; see `flanrec.backbone.perturbation`.

    Attributes
    ----------
    values
        float32 [n_tokens, d_model] for each batch of prompts, in the order in which the loss reads them.
    """

    def __init__(self) -> None:
        self.values: list[Tensor] = []
        self._owners: list[Tensor] = []
        self._radii: list[Tensor] = []
        self._next = 0

    def begin(self) -> None:
        """Begin with the first batch again."""
        self._next = 0

    def __call__(self, embedded: Tensor, rows: Rows) -> Tensor:
        """Add what belongs to the next batch: nothing, but with a gradient, when it is read for the first time."""
        if not torch.is_grad_enabled():
            return embedded
        if self._next == len(self.values):
            places = torch.arange(len(embedded), device=embedded.device) if rows.index is None else rows.index
            self._owners.append(places // rows.shape[1])
            self._radii.append(self._norms(embedded.detach().float(), len(self.values), rows.shape[0]))
            self.values.append(torch.zeros_like(embedded, dtype=torch.float32).requires_grad_())
        shift = self.values[self._next]
        self._next += 1
        return embedded + shift.to(embedded.dtype)

    @torch.no_grad()
    def climb(self, size: float, stride: float, *, further: bool) -> None:
        """Move each prompt uphill by `stride` of its radius, and back into the ball.

        Parameters
        ----------
        size
            Radius of the ball, as a share of the norm of the prompt's embeddings.
        further
            Whether there is another step to come, which needs gradients.
        """
        for at, value in enumerate(self.values):
            radii, owners = size * self._radii[at], self._owners[at]
            moved = value
            if value.grad is not None:
                slopes = self._norms(value.grad, at, len(radii))
                moved = value + ((stride * radii / _positive(slopes))[owners, None]) * value.grad
                lengths = self._norms(moved, at, len(radii))
                moved = moved * (radii / _positive(lengths)).clamp(max=1.0)[owners, None]
            self.values[at] = moved.detach().requires_grad_(further)

    def _norms(self, rows: Tensor, at: int, count: int) -> Tensor:
        """The norm of each prompt's rows together: float32 [count]."""
        sums = torch.zeros(count, device=rows.device)
        return sums.index_add_(0, self._owners[at], rows.square().sum(dim=1)).sqrt_()


def _positive(norms: Tensor) -> Tensor:
    """Norms to divide by: a prompt without a slope stays where it is."""
    return norms.clamp(min=1e-30)
