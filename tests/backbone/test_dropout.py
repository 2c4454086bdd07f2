from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from flanrec.backbone import Backbone
from flanrec.backbone.adapters import AdapterSettings, add_adapter
from flanrec.backbone.dropout import Dropout, drop, dropout_at
from flanrec.backbone.encoder import encoder_states


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.9])
def test_the_rate_is_met_and_the_mean_stays(rate: float) -> None:
    torch.manual_seed(0)
    states = torch.ones(301, 997)
    dropped = drop(states, rate, training=True)
    # 300,000 draws: five standard deviations of the share are below 0.005.
    assert (dropped == 0).float().mean() == pytest.approx(rate, abs=0.005)
    assert dropped.max() == pytest.approx(1 / (1 - rate), rel=1e-3)
    assert dropped.mean() == pytest.approx(1.0, abs=5 * (rate / (1 - rate) / states.numel()) ** 0.5)


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(1)
    kept = (drop(torch.ones(400_000), 0.5, training=True) > 0).float()
    for apart in (1, 2, 3, 4, 8):
        agreement = (kept[:-apart] == kept[apart:]).float().mean()
        assert agreement == pytest.approx(0.5, abs=0.005)


def test_a_seed_repeats_it_and_the_next_draw_differs() -> None:
    states = torch.randn(33, 5)
    torch.manual_seed(3)
    first, second = drop(states, 0.5, training=True), drop(states, 0.5, training=True)
    torch.manual_seed(3)
    assert torch.equal(drop(states, 0.5, training=True), first)
    assert not torch.equal(first, second)


def test_gradients_pass_where_values_do() -> None:
    torch.manual_seed(4)
    states = torch.randn(50, 3, requires_grad=True)
    dropped = drop(states, 0.4, training=True)
    dropped.sum().backward()
    assert states.grad is not None
    torch.testing.assert_close(states.grad, (dropped / states).detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_type_and_shape_stay(dtype: torch.dtype) -> None:
    states = torch.ones(2, 3, 5, dtype=dtype)
    assert drop(states, 0.1, training=True).dtype == dtype
    assert drop(states, 0.1, training=True).shape == states.shape
    assert drop(states, 0.1, training=False) is states or torch.equal(drop(states, 0.1, training=False), states)
    assert torch.equal(drop(states, 0.0, training=True), states)
    assert drop(states[:0], 0.1, training=True).shape == (0, 3, 5)


def test_a_loaded_checkpoint_drops_this_way(backbone: Backbone) -> None:
    layers = [layer for layer in backbone.model.modules() if isinstance(layer, torch.nn.Dropout)]
    assert layers
    assert all(isinstance(layer, Dropout) and layer.p == backbone.model.config.dropout_rate for layer in layers)


def test_another_rate_holds_inside_the_block_and_spares_what_adapters_drop(
    fresh_backbone: Callable[[], Backbone],
) -> None:
    learner = add_adapter(fresh_backbone(), AdapterSettings(method="lora", dropout=0.05))
    layers = [layer for layer in learner.model.modules() if isinstance(layer, torch.nn.Dropout)]
    attentions = [one for one in learner.model.modules() if hasattr(one, "has_relative_attention_bias")]
    rates = [layer.p for layer in layers]
    assert set(rates) == {0.1, 0.05}
    with dropout_at(learner.model, 0.3):
        assert [layer.p for layer in layers] == [0.3 if rate == 0.1 else rate for rate in rates]
        assert {one.dropout for one in attentions} == {0.3}
    with dropout_at(learner.model, None):
        assert [layer.p for layer in layers] == rates
    assert [layer.p for layer in layers] == rates
    assert {one.dropout for one in attentions} == {0.1}


def test_without_dropout_training_reads_as_use_does(fresh_backbone: Callable[[], Backbone]) -> None:
    learner = fresh_backbone()
    ids, mask = learner.encode_texts(["A user liked Heat. Which movie comes next?", "Yes or no?"])
    with torch.no_grad():
        used, _ = encoder_states(learner.model, ids, mask)
        learner.model.train()
        with dropout_at(learner.model, 0.0):
            read, _ = encoder_states(learner.model, ids, mask)
        dropped, _ = encoder_states(learner.model, ids, mask)
    torch.testing.assert_close(read, used, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(dropped, used, atol=1e-2)
