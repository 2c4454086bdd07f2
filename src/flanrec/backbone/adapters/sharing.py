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
from typing import Any

from torch import nn

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
