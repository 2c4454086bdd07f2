"""Penalties on moving weights: their closed form, their gradients, and what they do to a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import Run
from torch import nn

from flanrec.errors import SettingsError
from flanrec.tuning import LossSum, Weighted
from flanrec.tuning.anchors import Anchor, diagonal_fisher, relative


class Linear:
    """Squared error of ``w . x`` on given examples (x, y), each in its turn."""

    name = "linear"
    apart = False

    def __init__(self, weight: nn.Parameter, examples: list[tuple[list[float], float]]) -> None:
        self.weight, self.examples = weight, examples

    def draw(self, rng: np.random.Generator, size: int) -> list[int]:
        return [int(at) for at in rng.integers(len(self.examples), size=size)]

    def prepare(self, examples: list[int]) -> list[int]:
        return examples

    def loss(self, prepared: list[int]) -> LossSum:
        x = torch.tensor([self.examples[at][0] for at in prepared])
        y = torch.tensor([self.examples[at][1] for at in prepared])
        return LossSum((0.5 * (x @ self.weight - y) ** 2).sum(), len(prepared))


def moved(anchor: Anchor, *steps: tuple[nn.Parameter, list[float]]) -> float:
    """The penalty after moving weights; their gradients are left behind."""
    with torch.no_grad():
        for weight, step in steps:
            weight.add_(torch.tensor(step))
    penalty = anchor.penalty()
    assert penalty is not None
    penalty.backward()
    return float(penalty.detach())


def test_l2_sp_has_its_closed_form_and_gradient() -> None:
    one, two = nn.Parameter(torch.tensor([1.0, -2.0])), nn.Parameter(torch.tensor([[3.0]]))
    anchor = Anchor({"one": one, "two": two}, strength=0.4)
    assert moved(anchor) == 0.0
    one.grad = two.grad = None
    assert moved(anchor, (one, [0.5, -1.0]), (two, [2.0])) == pytest.approx(0.2 * (0.25 + 1.0 + 4.0))
    assert one.grad is not None
    assert two.grad is not None
    assert one.grad.tolist() == pytest.approx([0.4 * 0.5, 0.4 * -1.0])
    assert two.grad.tolist() == [pytest.approx([0.4 * 2.0])]


def test_ewc_weighs_each_move_by_its_importance() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 1.0, 1.0]))
    anchor = Anchor({"w": weight}, 2.0, {"w": torch.tensor([0.0, 1.0, 3.0])})
    assert moved(anchor, (weight, [5.0, 1.0, -2.0])) == pytest.approx(1.0 * 1.0 + 3.0 * 4.0)
    assert weight.grad is not None
    assert weight.grad.tolist() == pytest.approx([0.0, 2.0, -12.0])


def test_without_importance_or_strength_nothing_is_held() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    free = Anchor({"w": weight}, 7.0, {"w": torch.zeros(2)})
    assert moved(free, (weight, [3.0, -4.0])) == 0.0
    assert weight.grad is not None
    assert weight.grad.tolist() == [0.0, 0.0]
    assert Anchor({"w": weight}, 0.0).penalty() is None
    assert Anchor({}, 1.0).penalty() is None


def test_what_does_not_fit_is_refused() -> None:
    weight = nn.Parameter(torch.ones(2))
    with pytest.raises(SettingsError, match="at least 0"):
        Anchor({"w": weight}, -0.1)
    with pytest.raises(SettingsError, match="different names, such as 'v'"):
        Anchor({"w": weight}, 1.0, {"v": torch.ones(2)})
    for importance in (torch.ones(3), torch.tensor([1.0, -1.0])):
        with pytest.raises(SettingsError, match=r"importance of w .*\(2,\)"):
            Anchor({"w": weight}, 1.0, {"w": importance})
    with pytest.raises(SettingsError, match="batches is 0"):
        diagonal_fisher({"w": weight}, [], batches=0)


def test_the_fisher_of_one_example_a_batch_is_the_mean_squared_gradient() -> None:
    weight, loose = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.ones(3))
    # The gradient of example (x, y) is (w . x - y) x, here 2 * (1, 0) for the first and 3 * (0, 1) for the second.
    objective = Linear(weight, [([1.0, 0.0], -1.0), ([0.0, 1.0], -1.0)])
    found = diagonal_fisher({"w": weight, "loose": loose}, [Weighted(objective)], batches=400, batch_size=1)
    share = float(found["w"][0]) / 4.0
    assert share == pytest.approx(0.5, abs=0.1)
    assert found["w"].tolist() == pytest.approx([4.0 * share, 9.0 * (1 - share)])
    assert found["loose"].tolist() == [0.0, 0.0, 0.0]
    assert weight.grad is None
    again = diagonal_fisher({"w": weight, "loose": loose}, [Weighted(objective)], batches=400, batch_size=1)
    assert torch.equal(again["w"], found["w"])


def test_at_an_optimum_larger_batches_estimate_the_same_fisher() -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(400, 2, generator=generator)
    y = x @ torch.tensor([1.0, -1.0]) + torch.randn(400, generator=generator)
    best = torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
    weight = nn.Parameter(best.clone())
    objective = Weighted(Linear(weight, list(zip(x.tolist(), y.tolist(), strict=True))))
    exact = ((x @ best - y)[:, None] * x).square().mean(dim=0)
    found = diagonal_fisher({"w": weight}, [objective], batches=600, batch_size=8)["w"]
    assert found.tolist() == pytest.approx(exact.tolist(), rel=0.15)


def test_relative_importance_has_a_mean_of_one_and_a_bound() -> None:
    found = relative({"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([[2.0]])})
    assert found["a"].tolist() == [0.5, 1.5]
    assert found["b"].tolist() == [[1.0]]
    spiked = relative({"a": torch.tensor([0.0] * 99 + [1.0])}, most=10.0)["a"]
    assert float(spiked.max()) == 10.0
    assert torch.equal(relative({"a": torch.zeros(2)})["a"], torch.zeros(2))


def anchored(strength: float, folder: Path | None = None, **settings: object) -> Run:
    run = Run(folder, evaluate_every=None, average=0.0, **settings)
    run.evaluate = None
    anchor = Anchor({name: value for name, value in run.model.named_parameters() if value.requires_grad}, strength)
    run.arguments["companions"] = [anchor]
    return run


def test_a_stronger_anchor_leaves_weights_nearer_to_where_they_were() -> None:
    distances = []
    for strength in (0.0, 1.0, 100.0):
        run = anchored(strength)
        before = run.weights()
        run.trainer().fit()
        distances.append(sum(float((value - before[name]).norm()) for name, value in run.weights().items()))
    assert distances[0] > distances[1] > distances[2] > 0


def test_a_resumed_run_is_held_at_the_same_weights(tmp_path: Path) -> None:
    whole = anchored(0.5)
    whole.trainer().fit()
    killed = anchored(0.5, tmp_path, checkpoint_every=1)
    steps = 0

    def stop(examples: object) -> None:
        nonlocal steps
        steps += 1
        if steps > 9:
            raise KeyboardInterrupt

    killed.first.before_loss = killed.second.before_loss = stop
    with pytest.raises(KeyboardInterrupt):
        killed.trainer().fit()
    resumed = anchored(0.5, tmp_path, checkpoint_every=1)
    report = resumed.trainer().fit(resume=True)
    assert report.steps == 24
    assert all(torch.equal(value, whole.weights()[name]) for name, value in resumed.weights().items())
