"""A frozen stack whose dense weights are kept as autocast would have them."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


def lowered(stack: Any, dtype: torch.dtype = torch.bfloat16) -> Any:
    """A stack of blocks for use under autocast, to the same numbers: dense weights in `dtype`, everything else shared.

    Autocast remembers what it has cast of weights that are trained, not of frozen ones: it casts these again with every
    call, which for a short text takes longer than its products.

    Parameters
    ----------
    stack : encoder or decoder of a T5ForConditionalGeneration or a relative of it
        Frozen from here on; the copy does not follow what becomes of it.
    """
    memo: dict[int, Any] = {id(weight): weight for weight in stack.parameters()}
    memo |= {id(buffer): buffer for buffer in stack.buffers()}
    for module in stack.modules():
        if isinstance(module, nn.Linear):
            memo[id(module.weight)] = nn.Parameter(module.weight.detach().to(dtype), requires_grad=False)
    return copy.deepcopy(stack, memo)
