"""Rectangles of texts of unequal length: layers without attention see the real tokens alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class _Select(torch.autograd.Function):
    """Some rows of a matrix. None comes twice, so gradients are copied back; torch would add them, which is slow."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = len(states)
        return states.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (index,), (gradient,) = ctx.saved_tensors, gradients
        whole = gradient.new_zeros(ctx.rows, *gradient.shape[1:])
        return whole.index_copy_(0, index, gradient), None


@dataclass(frozen=True)
class Rows:
    """Which places of a rectangle [n, longest] hold a token.

    Attributes
    ----------
    shape : (n, longest)
    index : int64[n_tokens] or None
        Positions in the flat rectangle; None where every place holds a token.
    """

    shape: tuple[int, int]
    index: Tensor | None

    @classmethod
    def of_counts(cls, counts: NDArray[np.int64], longest: int, device: torch.device) -> Rows:
        """Rows of the first ``counts`` places each."""
        shape = (len(counts), longest)
        if (counts == longest).all():
            return cls(shape, None)
        real = np.flatnonzero((np.arange(longest) < counts[:, None]).ravel())
        return cls(shape, torch.as_tensor(real, device=device))

    @classmethod
    def of_mask(cls, mask: Tensor) -> Rows:
        """The places where ``mask`` [n, longest] is not zero."""
        real = mask.flatten().nonzero()[:, 0]
        return cls((mask.shape[0], mask.shape[1]), None if len(real) == mask.numel() else real)

    def gather(self, states: Tensor) -> Tensor:
        """[n, longest, width] to [n_tokens, width], or [n, longest] to [n_tokens]."""
        flat = states.flatten(0, 1)
        if self.index is None:
            return flat
        chosen: Tensor = _Select.apply(flat, self.index)  # type: ignore[no-untyped-call]
        return chosen

    def spread(self, states: Tensor) -> Tensor:
        """[n_tokens, width] to [n, longest, width], zeros where there is no token."""
        if self.index is None:
            return states.view(*self.shape, states.shape[1])
        flat = states.new_zeros(math.prod(self.shape), states.shape[1])
        return flat.index_copy_(0, self.index, states).view(*self.shape, states.shape[1])
