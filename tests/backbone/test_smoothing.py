"""Evened-out channels change nothing that is said, in any family, and are even."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from flanrec.backbone import Backbone
from flanrec.backbone.smoothing import channel_peaks, smoothed


def logits(model: Any, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(input_ids=ids, labels=labels).logits
    return found


def test_the_real_checkpoint_says_the_same_with_even_channels(backbone: Backbone) -> None:
    before = backbone.weights_digest()
    even = smoothed(backbone)
    assert backbone.weights_digest() == before
    ids, _ = backbone.encode_texts(["Which movie comes next after Heat (1995) and Alien (1979)?"])
    labels, _ = backbone.encode_texts(["Fargo (1996)"])
    expected, found = (logits(one.model, ids, labels) for one in (backbone, even))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-3)
    spread = [
        torch.stack([peak.max() / peak.median() for peak in channel_peaks(one).values()]).median()
        for one in (backbone, even)
    ]
    assert spread[1] < 0.6 * spread[0]


def test_every_family_says_the_same(backbone: Backbone, small_t5: Any, monkeypatch: Any) -> None:
    def encode(self: Backbone, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        ids = torch.randint(2, 60, (len(texts), 6), generator=torch.Generator().manual_seed(0))
        return ids, torch.ones_like(ids)

    monkeypatch.setattr(Backbone, "encode_texts", encode)
    head = small_t5.lm_head.weight.clone()
    even = smoothed(replace(backbone, model=small_t5))
    ids, labels = torch.randint(2, 60, (3, 7)), torch.randint(2, 60, (3, 4))
    torch.testing.assert_close(logits(even.model, ids, labels), logits(small_t5, ids, labels), rtol=1e-4, atol=1e-5)
    assert torch.equal(small_t5.lm_head.weight, head)
    assert not torch.equal(even.model.lm_head.weight, head)
