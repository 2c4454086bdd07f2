from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from flanrec.errors import CheckpointError, SettingsError
from flanrec.tuning import MovingAverage, ParameterGroup, TrainerSettings
from flanrec.tuning.optimisers import build_optimiser, optimiser_state, restore_optimiser, set_rates
from flanrec.tuning.parameters import trained_parameters


def stepped(optimizer: str, dtype: torch.dtype = torch.float32) -> tuple[Any, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    matrix = nn.Parameter(torch.randn(6, 4, generator=generator).to(dtype))
    untouched = nn.Parameter(torch.ones(3, dtype=dtype))
    groups = [ParameterGroup("all", {"matrix": matrix, "untouched": untouched}, 0.01)]
    optimiser = build_optimiser(groups, TrainerSettings(steps=9, optimizer=optimizer))  # type: ignore[arg-type]
    for _ in range(3):
        matrix.grad = torch.randn(6, 4, generator=generator).to(dtype)
        optimiser.step()
    return optimiser, trained_parameters(groups)


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor", "sgd"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_optimiser_goes_on_exactly_from_its_saved_state(optimizer: str, dtype: torch.dtype) -> None:
    one, its = stepped(optimizer, dtype)
    other, others = stepped(optimizer, dtype)
    other.state.clear()
    restore_optimiser(other, others, *optimiser_state(one, its))
    assert not any("untouched" in name for part in optimiser_state(one, its) for name in part)
    for number in range(3):
        for parameters, optimiser in ((its, one), (others, other)):
            parameters["all/matrix"].grad = torch.full((6, 4), 0.1 * (number + 1), dtype=dtype)
            optimiser.step()
    assert torch.equal(its["all/matrix"], others["all/matrix"])
    for name, value in optimiser_state(one, its)[0].items():
        assert torch.equal(value, optimiser_state(other, others)[0][name]), name


def test_state_of_a_parameter_that_is_not_trained_is_refused() -> None:
    optimiser, parameters = stepped("adamw")
    with pytest.raises(CheckpointError, match="all/gone"):
        restore_optimiser(optimiser, parameters, {"all/gone#exp_avg": torch.zeros(1)}, {})


def test_each_group_has_its_own_rate_and_decay() -> None:
    a, b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    groups = [ParameterGroup("a", {"a": a}, 0.1, weight_decay=0.0), ParameterGroup("b", {"b": b}, 0.5)]
    optimiser = build_optimiser(groups, TrainerSettings(steps=1, weight_decay=0.3))
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.0, 0.3]
    assert set_rates(optimiser, groups, 0.5) == {"a": 0.05, "b": 0.25}


def test_only_what_requires_gradients_is_trained() -> None:
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    assert list(trained_parameters([ParameterGroup("x", dict(layer.named_parameters()), 0.1)])) == ["x/weight"]


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        (lambda p: [ParameterGroup("x", {"p": p}, 0.1), ParameterGroup("y", {"q": p}, 0.1)], "y/q is the same"),
        (lambda p: [ParameterGroup("x", {"p": p}, 0.1), ParameterGroup("x", {}, 0.1)], "one name"),
        (lambda p: [ParameterGroup("x", {"p": p}, 0.0)], "learning rate 0.0"),
        (lambda p: [ParameterGroup("x", {"p": p * 2}, 0.1)], "computed from"),
        (lambda p: [ParameterGroup("x", {"p": p.detach()}, 0.1)], "nothing to train"),
    ],
)
def test_groups_that_do_not_fit_are_refused(groups: Any, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        trained_parameters(groups(nn.Parameter(torch.zeros(2))))


def test_the_average_follows_its_formula_and_gives_the_weights_back() -> None:
    parameters = {"p": nn.Parameter(torch.tensor([1.0]))}
    average = MovingAverage(parameters, 0.5)
    expected = 1.0
    for update, value in enumerate([2.0, 5.0, -3.0, 7.0, 1.0, 2.0, 3.0, 0.0, 4.0, 9.0]):
        parameters["p"].data.fill_(value)
        average.update(parameters)
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * value
    with average.in_place_of(parameters):
        assert parameters["p"].item() == pytest.approx(expected, abs=1e-6)
    assert parameters["p"].item() == 9.0
