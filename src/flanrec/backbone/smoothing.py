"""A backbone that says the same and bears rounding better: large channels of its states moved into the weights.

In a T5 the same few channels of every state are many times the others, whatever is read. Rounded to int8, a state
then has one step for all its channels, too coarse for most. So each of these channels is divided where it arises,
and the weights that read it are multiplied: exact in float, and both sides then span about the same.

References
----------
Xiao et al., "SmoothQuant: accurate and efficient post-training quantization for large language models", 2023.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from flanrec.backbone.checkpoint import Backbone

_SAMPLES = (
    ("A customer chose, oldest first: Toy Story (1995), Heat (1995), Fargo (1996). What comes next?", "Jaws (1975)"),
    ("The reader liked Dune and disliked Emma. Will this reader like Foundation? Answer yes or no.", "yes"),
    ("Someone wants something short, funny and not about war. Recommend one item.", "The Grand Budapest Hotel"),
    ("Which rating from 1 to 5 would a listener who loves slow piano music give to Kind of Blue?", "4"),
)


@torch.no_grad()
def smoothed(backbone: Backbone) -> Backbone:
    """A copy of the backbone with its channels evened out; the original stays as it is.

    Parameters
    ----------
    backbone : Backbone
        In float32 and without an adapter.
    """
    model: Any = copy.deepcopy(backbone.model).requires_grad_(False).eval()
    if model.get_output_embeddings().weight is model.get_input_embeddings().weight:
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.clone(), requires_grad=False)
        model.config.tie_word_embeddings = False
    peaks = channel_peaks(replace(backbone, model=model))
    encoder, decoder = model.get_encoder(), model.get_decoder()
    readers = []
    for block in [*encoder.block, *decoder.block]:
        layer = block.layer[0]
        _move_norm(layer.layer_norm, [layer.SelfAttention.q, layer.SelfAttention.k, layer.SelfAttention.v], peaks)
        _move_rows(layer.SelfAttention.v, layer.SelfAttention.o, peaks)
        if len(block.layer) == 3:
            layer = block.layer[1]
            _move_norm(layer.layer_norm, [layer.EncDecAttention.q], peaks)
            _move_rows(layer.EncDecAttention.v, layer.EncDecAttention.o, peaks)
            readers += [layer.EncDecAttention.k, layer.EncDecAttention.v]
        layer = block.layer[-1]
        dense = layer.DenseReluDense
        gated = hasattr(dense, "wi_1")
        _move_norm(layer.layer_norm, [dense.wi_0, dense.wi_1] if gated else [dense.wi], peaks)
        # What is multiplied with the gate, or goes through a ReLU, can be scaled before as well as after.
        _move_rows(dense.wi_1 if gated else dense.wi, dense.wo, peaks)
    _move_norm(encoder.final_layer_norm, readers, peaks)
    _move_norm(decoder.final_layer_norm, [model.lm_head], peaks)
    return replace(backbone, model=model)


@torch.no_grad()
def channel_peaks(backbone: Backbone) -> dict[nn.Module, Tensor]:
    """The largest size of each input channel of each linear layer, over a few texts: [in] each."""
    peaks: dict[nn.Module, Tensor] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        found = inputs[0].reshape(-1, inputs[0].shape[-1]).abs().amax(dim=0)
        peaks[layer] = torch.maximum(peaks[layer], found) if layer in peaks else found

    watched = [layer.register_forward_hook(note) for layer in backbone.model.modules() if isinstance(layer, nn.Linear)]
    try:
        ids, mask = backbone.encode_texts([prompt for prompt, _ in _SAMPLES])
        labels, _ = backbone.encode_texts([answer for _, answer in _SAMPLES])
        backbone.model(input_ids=ids, attention_mask=mask, labels=labels)
    finally:
        for hook in watched:
            hook.remove()
    return peaks


def _move_norm(norm: Any, readers: Sequence[nn.Linear], peaks: dict[nn.Module, Tensor]) -> None:
    """From what a norm puts out to the weights that read it."""
    moved = _share(readers, peaks)
    norm.weight.div_(moved)
    for reader in readers:
        reader.weight.mul_(moved)


def _move_rows(writer: nn.Linear, reader: nn.Linear, peaks: dict[nn.Module, Tensor]) -> None:
    """From what a layer puts out to the weights that read it, whatever stands between does not mix channels."""
    moved = _share([reader], peaks)
    writer.weight.div_(moved[:, None])
    reader.weight.mul_(moved)


def _share(readers: Sequence[nn.Linear], peaks: dict[nn.Module, Tensor]) -> Tensor:
    """By how much each channel's weights are multiplied: half of the way, on a logarithmic scale."""
    sizes = torch.stack([reader.weight.abs().amax(dim=0) for reader in readers]).amax(dim=0).clamp(min=1e-5)
    shared = (peaks[readers[0]].clamp(min=1e-5) / sizes).sqrt()
    return shared / shared.mean()
