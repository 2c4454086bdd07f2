"""Item tokens that read histories in int8, for use on a CPU."""

from __future__ import annotations

import copy

from torch import nn

from flanrec.backbone.int8 import Int8Linear
from flanrec.catalogue.item_tokens import ItemTokens


def int8_reader(tokens: ItemTokens) -> ItemTokens:
    """Item tokens whose decoder multiplies in int8, to be used and not tuned; the original stays as it is.

    What is compared with the items stays in float32. Nothing has to be evened out before, as in a whole T5: what these
    few blocks read was made for them.
    """
    memo = {id(weight): weight for weight in tokens.parameters()} | {id(buffer): buffer for buffer in tokens.buffers()}
    reader = copy.deepcopy(tokens, memo)
    for module in list(reader.decoder.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.Linear):
                setattr(module, name, Int8Linear(layer.weight))
    return reader.eval()
