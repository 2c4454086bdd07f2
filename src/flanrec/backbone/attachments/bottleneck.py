"""Bottleneck adapters: two narrow layers after each attention and each dense layer.

Houlsby et al., "Parameter-efficient transfer learning for NLP", 2019: behind the last map of a sublayer, before its
result is added to the stream, y becomes y + up(gelu(down(y))). The upper map starts at zero, as no change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import functional


class Bottleneck(nn.Module):
    """A linear map with an adapter behind it, in its place.

    Parameters
    ----------
    base
        The map, which stays as it is.
    width
        Of the bottleneck.
    """

    def __init__(self, base: nn.Linear, width: int) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.out_features, width, device=base.weight.device)
        self.up = nn.Linear(width, base.out_features, device=base.weight.device)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    @property
    def weight(self) -> Tensor:
        """Of the map; transformers asks for its number format."""
        weight: Tensor = self.base.weight
        return weight

    def forward(self, states: Tensor) -> Tensor:
        """[..., in_features] to [..., out_features]."""
        mapped: Tensor = self.base(states)
        narrow = functional.gelu(self.down(mapped.to(self.down.weight.dtype)))
        found: Tensor = mapped + self.up(narrow).to(mapped.dtype)
        return found


def last_maps(model: Any) -> Iterator[tuple[nn.Module, str]]:
    """The last map of every sublayer, as its owner and its name there."""
    for stack in (model.get_encoder(), model.get_decoder()):
        for block in stack.block:
            yield block.layer[0].SelfAttention, "o"
            if stack.is_decoder:
                yield block.layer[1].EncDecAttention, "o"
            yield block.layer[-1].DenseReluDense, "wo"


def put_in(model: Any, width: int) -> None:
    """Put an adapter behind the last map of every sublayer."""
    for owner, name in list(last_maps(model)):
        setattr(owner, name, Bottleneck(getattr(owner, name), width))
