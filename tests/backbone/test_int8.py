from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from flanrec.backbone import Backbone
from flanrec.backbone.adapters import AdapterSettings, add_adapter
from flanrec.backbone.int8 import Int8Head, Int8Linear, quantised
from flanrec.backbone.smoothing import smoothed
from flanrec.errors import SettingsError

TEXTS = [
    "A viewer liked Star Wars (1977), Alien (1979). Which movie comes next?",
    "Is this review positive or negative? A waste of two hours.",
    "Recommend a movie about a dog.",
]


@pytest.fixture(scope="module")
def small(backbone: Backbone) -> Backbone:
    return quantised(backbone)


def test_the_encoder_says_nearly_the_same(backbone: Backbone, small: Backbone) -> None:
    ids, mask = backbone.encode_texts(TEXTS)
    even = smoothed(backbone)
    with torch.inference_mode():
        exact, rounded = (
            one.model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state[mask == 1].numpy()
            for one in (even, small)
        )
    assert np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] > 0.995
    assert not np.array_equal(exact, rounded)


def test_every_linear_layer_is_in_int8_and_the_original_as_it_was(backbone: Backbone, small: Backbone) -> None:
    assert not any(isinstance(module, torch.nn.Linear) for module in small.model.modules())
    assert isinstance(small.model.get_output_embeddings(), Int8Head)
    assert sum(isinstance(module, torch.nn.Linear) for module in backbone.model.modules()) == 8 * 7 + 8 * 11 + 1
    assert torch.equal(small.model.get_output_embeddings().weight, smoothed(backbone).model.lm_head.weight)


def test_the_largest_sums_do_not_saturate() -> None:
    # On a CPU without VNNI two products of 255 * 127 exceed 16 bits, and a plain int8 layer is wrong by a factor.
    signs = torch.where(torch.arange(64) % 2 == 0, 1.0, -1.0)
    layer = Int8Linear(signs[:, None].repeat(1, 512))
    states = torch.ones(3, 512)
    states[:, 0] = -1.0
    torch.testing.assert_close(layer(states), states @ signs[:, None].repeat(1, 512).T, rtol=0.02, atol=0.1)


def test_a_huge_state_does_not_blur_the_others() -> None:
    torch.manual_seed(0)
    weight, states = torch.randn(32, 128), torch.randn(5, 128)
    alone = Int8Linear(weight)(states)
    beside = Int8Linear(weight)(torch.cat([states, 1e4 * torch.randn(1, 128), torch.zeros(1, 128)]))
    assert torch.equal(beside[:5], alone)
    assert (alone - states @ weight.T).abs().max() < 1.0
    assert (beside[6] == 0).all()


def test_the_head_gives_the_logits_of_all_blocks() -> None:
    torch.manual_seed(0)
    weight, states = torch.randn(5000, 16), torch.randn(2, 3, 16)
    head = Int8Head(weight)
    assert [block.width for block in head.blocks] == [2048, 2048, 904]
    expected = states @ weight.T
    assert head(states).shape == expected.shape
    assert (head(states) - expected).abs().max() < 0.1 * expected.std()


def test_what_cannot_be_quantised_is_refused(backbone: Backbone, fresh_backbone: object) -> None:
    with pytest.raises(SettingsError, match="load it with device cpu and precision fp32"):
        quantised(replace(backbone, dtype=torch.bfloat16))
    with pytest.raises(SettingsError, match="merge"):
        quantised(add_adapter(fresh_backbone(), AdapterSettings(rank=2)))  # type: ignore[operator]
