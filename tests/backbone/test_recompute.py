"""Activation checkpointing keeps far less for the gradient, and the gradient is the same, dropout included."""

from __future__ import annotations

from typing import Any

import torch

from flanrec.backbone.decoder import causal, decoder_states
from flanrec.backbone.encoder import encoder_states, recompute_blocks
from flanrec.backbone.rows import Rows


def gradients(model: Any) -> tuple[dict[str, torch.Tensor], int]:
    """Of a loss over ragged rows, with the bytes that were kept for them."""
    kept = 0

    def note(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    torch.manual_seed(3)
    ids = torch.randint(2, 60, (4, 30))
    mask = (torch.arange(30) < torch.tensor([[30], [7], [30], [1]])).long()
    rows = Rows.of_mask(mask)
    model.train().zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        told, _ = encoder_states(model, ids, mask)
        stack = model.get_decoder()
        read = decoder_states(stack, stack.embed_tokens(rows.gather(ids)), rows, causal(30, ids.device), told, mask)
        loss = read.square().mean()
    loss.backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}, kept


def test_the_gradient_is_the_same_from_less(small_t5: Any) -> None:
    expected, all_kept = gradients(small_t5)
    recompute_blocks(small_t5, True)
    found, kept = gradients(small_t5)
    recompute_blocks(small_t5, False)
    assert kept < 0.3 * all_kept
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-6, rtol=1e-4)
    again, _ = gradients(small_t5)
    torch.testing.assert_close(again["shared.weight"], expected["shared.weight"])
