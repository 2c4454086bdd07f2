"""Several adapters on one base: each has its own modules, all read the same weights.

    base = load_backbone("google/flan-t5-base")
    tenants = {name: load_adapter(shared(base), folder) for name, folder in folders.items()}
    generate_items(tenants["news"], prompts, trie, k=10)

A request takes the backbone of its tenant or domain. Nothing is switched, so requests of several may run at once, and
what is remembered of one (encoder states of instructions) is never read for another.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from flanrec.backbone.checkpoint import Backbone


def shared(backbone: Backbone) -> Backbone:
    """A backbone with modules of its own around the same weights, which take no further memory.

    An adapter that goes into the one is not in the other. Merging replaces weights of the one alone, which then has
    its own copy of these.
    """
    model: Any = backbone.model
    # Parameters of its own keep what is assigned to them apart, while the numbers stay where they are.
    memo: dict[int, Any] = {
        id(weight): nn.Parameter(weight.detach(), requires_grad=False) for weight in model.parameters()
    }
    memo |= {id(buffer): buffer for buffer in model.buffers()}
    return dataclasses.replace(backbone, model=copy.deepcopy(model, memo))


def hold_once(backbone: Backbone, others: Iterable[Backbone]) -> int:
    """Have a backbone read the weights of others wherever they are the same to the last bit.

    For models that were loaded each by itself and are only read from here on: versions of one model, or several that
    were tuned from one T5 and have its frozen part in common.

    Returns
    -------
    int
        Bytes that this backbone no longer holds by itself.
    """
    own, freed = _weights(backbone), 0
    for other in others:
        for name, known in _weights(other).items():
            weight = own.get(name)
            if weight is not None and weight.data_ptr() != known.data_ptr() and _same(weight, known):
                weight.data = known.data
                freed += weight.nbytes
                del own[name]  # what two others hold apart is taken from the first
    return freed


def _weights(backbone: Backbone) -> dict[str, nn.Parameter]:
    # A bottleneck has the map that it stands behind inside.
    return {name.replace(".base.", "."): weight for name, weight in backbone.model.named_parameters()}


def _same(one: Tensor, other: Tensor) -> bool:
    alike = (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)
    return alike and torch.equal(one, other)
