"""An int8 copy of a backbone for inference on a CPU: a quarter of the bytes, twice the speed and more.

Weights are rounded per output, activations per token. One scale for a whole batch of activations, which
is what dynamic quantisation usually means, ruins a T5: a few of its states are a hundred times the rest.
Large channels are evened out before (:mod:`flanrec.backbone.smoothing`).
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torch import Tensor, nn

from flanrec.backbone.attachments import refuse_attached
from flanrec.backbone.checkpoint import Backbone
from flanrec.backbone.smoothing import smoothed
from flanrec.errors import SettingsError

_HEAD_ROWS = 2048
"""Rows of the output layer in a block: few enough that the logits of many states stay in the cache."""


def quantised(backbone: Backbone) -> Backbone:
    """The backbone with its linear layers in int8; the original stays as it is.

    Embeddings, norms and position biases stay in float32, and so does the output layer's own table, from which
    the logits of single tokens are read; the sum over the vocabulary goes through int8.

    Raises
    ------
    SettingsError
        The backbone is not on a CPU, is not in float32, or carries an adapter.
    """
    if backbone.device.type != "cpu" or backbone.dtype != torch.float32:
        raise SettingsError(
            f"int8 is made from float32 weights on a CPU; this backbone is in {backbone.dtype} on {backbone.device}: "
            "load it with device cpu and precision fp32"
        )
    if hasattr(backbone.model, "peft_config"):
        raise SettingsError("the backbone carries an adapter; merge() it before it is quantised")
    refuse_attached(backbone.model, "int8")
    model = smoothed(backbone).model
    head = model.get_output_embeddings()
    for module in list(model.modules()):
        for name, layer in list(module.named_children()):
            if layer is head:
                setattr(module, name, Int8Head(layer.weight))
            elif isinstance(layer, nn.Linear):
                setattr(module, name, Int8Linear(layer.weight))
    return replace(backbone, model=model)


def weight_bits() -> int:
    """Bits of a weight: 8, or 7 on a CPU without VNNI, whose sums of two products saturate beyond 16 bits."""
    known = torch.cpu.get_capabilities()
    return 8 if known.get("avx512_vnni") or known.get("avx_vnni") or known.get("amx_int8") else 7


class Int8Linear(nn.Module):
    """A linear layer without bias.

    Parameters
    ----------
    weight : [out, in]
    bits : int, optional
        Of each rounded weight; as many as this CPU can add up by default.
    """

    weight = None
    """The layers of transformers look for it, to cast their input to its type where it has one."""

    def __init__(self, weight: Tensor, bits: int | None = None) -> None:
        super().__init__()
        bits = weight_bits() if bits is None else bits
        self.width = len(weight)
        detached = weight.detach().float()
        scales = detached.abs().amax(dim=1).clamp(min=1e-12) / (2 ** (bits - 1) - 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rounded = torch.quantize_per_channel(
                detached, scales.double(), torch.zeros(len(scales), dtype=torch.long), 0, torch.qint8
            )
        self._packed = torch.ops.quantized.linear_prepack(rounded, None)

    def forward(self, states: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        flat = states.reshape(-1, states.shape[-1])
        peaks = flat.abs().amax(dim=1, keepdim=True).clamp_(min=1e-12)
        # The library rounds a whole matrix by its extremes: scaled first, each row is rounded by its own, and with one
        # row more that has both extremes always by the same grid, whatever stands beside it.
        scaled = flat.new_zeros(len(flat) + 1, flat.shape[1])
        torch.div(flat, peaks, out=scaled[:-1])
        scaled[-1, 0], scaled[-1, -1] = -1.0, 1.0
        found: Tensor = torch.ops.quantized.linear_dynamic(scaled, self._packed)[:-1]
        return found.mul_(peaks).view(*states.shape[:-1], -1)


class Int8Head(nn.Module):
    """An output layer: its table in float32, and the same in blocks of int8 rows.

    Parameters
    ----------
    weight : [vocabulary, d_model]
    bits : int, optional
    """

    def __init__(self, weight: Tensor, bits: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)
        self.blocks = [Int8Linear(rows, bits) for rows in torch.split(weight.detach(), _HEAD_ROWS)]

    def forward(self, states: Tensor) -> Tensor:
        """[..., d_model] to logits [..., vocabulary]."""
        return torch.cat([block(states) for block in self.blocks], dim=-1)
