"""Adversarial training, against perturbations that are made by hand with transformers' own encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from flanrec.backbone import Backbone
from flanrec.backbone.encoder import encoder_states, recompute_blocks
from flanrec.backbone.perturbation import perturbation
from flanrec.backbone.used_rows import trained_rows
from flanrec.generation import first_token_ids
from flanrec.tuning import LossSum
from flanrec.tuning.adversarial import AdversarialObjective, Shifts
from flanrec.tuning.objectives.match import Judgement, MatchObjective

JUDGEMENTS = [
    Judgement('Liked: Alien (1979). Would the user like "Aliens (1986)"? Answer yes or no.', True, 0.7),
    Judgement('Would the user like "Heat"? It is crime. Yes or no?', False, -1.2),
    Judgement("Is the sky green? yes or no", True, 0.0),
]
SIZE = 0.03


def match(backbone: Backbone) -> MatchObjective:
    yes, no = (first_token_ids(backbone.tokenizer, [word]) for word in ("yes", "no"))

    def unasked(_: np.random.Generator) -> Judgement:
        raise AssertionError("the loss draws nothing")

    return MatchObjective(backbone, unasked, yes, no)


@pytest.fixture
def unlearnt(backbone: Backbone) -> Iterator[Backbone]:
    """The shared checkpoint, its gradients cleared before and after."""
    backbone.model.zero_grad()
    yield backbone
    backbone.model.zero_grad()


def by_hand(backbone: Backbone, one: Judgement, embedded: Tensor) -> Tensor:
    """The loss of a pair whose prompt has given embeddings [1, length, d_model], the decoder's being the table's."""
    model: Any = backbone.model
    read = model.get_encoder()(inputs_embeds=embedded).last_hidden_state
    start = torch.tensor([[model.config.decoder_start_token_id]])
    logits = model(encoder_outputs=(read,), decoder_input_ids=start).logits[0, 0]
    objective = match(backbone)
    odds = logits[objective.yes_ids[0]] - logits[objective.no_ids[0]] + one.offset
    return torch.nn.functional.softplus(-odds if one.liked else odds)


def worst(backbone: Backbone, one: Judgement, size: float) -> tuple[Tensor, Tensor, float]:
    """Embeddings of a prompt, what FGM adds to them, and the norm of the gradient."""
    ids, _ = backbone.encode_texts([one.prompt])
    embedded = backbone.model.get_input_embeddings()(ids).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(by_hand(backbone, one, embedded), [embedded])
    embedded = embedded.detach()
    return embedded, size * embedded.norm() * gradient / gradient.norm(), float(gradient.norm())


def shifts_of(backbone: Backbone, examples: list[Judgement], size: float) -> Shifts:
    """What is added after one step."""
    objective, shifts = match(backbone), Shifts()
    with perturbation(backbone.model, shifts):
        objective.loss(objective.prepare(examples)).total.backward()  # type: ignore[no-untyped-call]
    shifts.climb(size, 1.0, further=False)
    backbone.model.zero_grad()
    return shifts


def gradients(loss: LossSum, model: Any) -> dict[str, Tensor]:
    loss.total.backward()  # type: ignore[no-untyped-call]
    return {
        name: weight.grad.clone()
        for name, weight in model.named_parameters()
        if weight.grad is not None and weight.numel() < 1_000_000
    }


def test_each_prompt_moves_by_its_share_along_its_own_gradient(unlearnt: Backbone) -> None:
    shifts = shifts_of(unlearnt, JUDGEMENTS, SIZE)
    (value,) = shifts.values
    expected = [worst(unlearnt, one, SIZE) for one in JUDGEMENTS]
    torch.testing.assert_close(value, torch.cat([change[0] for _, change, _ in expected]), atol=2e-3, rtol=2e-3)
    lengths = [len(change[0]) for _, change, _ in expected]
    for part, (embedded, _, _) in zip(value.split(lengths), expected, strict=True):
        assert float(part.norm()) == pytest.approx(SIZE * float(embedded.norm()), rel=1e-5)


def test_the_loss_is_the_clean_one_and_the_one_of_the_moved_prompts_under_an_unmoved_decoder(
    unlearnt: Backbone,
) -> None:
    objective = match(unlearnt)
    loss = AdversarialObjective(objective, unlearnt, size=SIZE).loss(objective.prepare(JUDGEMENTS))
    with torch.no_grad():
        parts = []
        for one in JUDGEMENTS:
            with torch.enable_grad():
                embedded, change, _ = worst(unlearnt, one, SIZE)
            parts.append(float(by_hand(unlearnt, one, embedded) + by_hand(unlearnt, one, embedded + change)))
    assert float(loss.total.detach()) == pytest.approx(sum(parts), rel=1e-3)
    assert loss.count == 3.0


def test_a_small_change_raises_the_loss_by_its_length_times_the_slope(unlearnt: Backbone) -> None:
    objective, size = match(unlearnt), 1e-4
    prepared = objective.prepare(JUDGEMENTS)
    shifts = shifts_of(unlearnt, JUDGEMENTS, size)
    with torch.no_grad():
        clean = float(objective.loss(prepared).total)
    with perturbation(unlearnt.model, shifts):
        shifts.begin()
        moved = float(objective.loss(prepared).total.detach())
    slopes = [
        (embedded.norm() * size, norm) for embedded, _, norm in (worst(unlearnt, one, size) for one in JUDGEMENTS)
    ]
    assert moved - clean == pytest.approx(float(sum(length * norm for length, norm in slopes)), rel=0.05)


def test_the_gradient_is_that_of_both_losses(unlearnt: Backbone) -> None:
    objective, model = match(unlearnt), unlearnt.model
    prepared = objective.prepare(JUDGEMENTS)
    shifts = shifts_of(unlearnt, JUDGEMENTS, SIZE)
    expected = gradients(objective.loss(prepared), model)
    model.zero_grad()
    with perturbation(model, shifts), torch.random.fork_rng(devices=[]):
        shifts.begin()
        for name, value in gradients(objective.loss(prepared), model).items():
            expected[name] = expected[name] + value
    model.zero_grad()
    found = gradients(AdversarialObjective(objective, unlearnt, size=SIZE).loss(prepared), model)
    assert found.keys() == expected.keys()
    for name in [name for name in expected if ".block.0." in name or ".block.7." in name]:
        value = expected[name]
        torch.testing.assert_close(found[name], value, atol=1e-5 * float(value.abs().max()), rtol=1e-3)


def test_the_weights_and_the_model_stay_as_they_were(unlearnt: Backbone) -> None:
    objective = match(unlearnt)
    prepared = objective.prepare(JUDGEMENTS)
    state = torch.get_rng_state()
    with torch.no_grad():
        before = float(objective.loss(prepared).total)
    AdversarialObjective(objective, unlearnt, size=SIZE).loss(prepared)
    with torch.no_grad():
        assert float(objective.loss(prepared).total) == before
        assert float(AdversarialObjective(objective, unlearnt, size=SIZE).loss(prepared).total) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(weight._version == 0 for weight in unlearnt.model.parameters())


def test_all_passes_drop_the_same_values(fresh_backbone: Callable[[], Backbone]) -> None:
    learner = fresh_backbone()
    learner.model.train()
    objective = match(learner)
    prepared = objective.prepare(JUDGEMENTS)
    torch.manual_seed(3)
    loss = AdversarialObjective(objective, learner, size=1e-9).loss(prepared)
    torch.manual_seed(3)
    with torch.no_grad():
        assert float(loss.total.detach()) == pytest.approx(2 * float(objective.loss(prepared).total), rel=1e-4)
        assert float(objective.loss(prepared).total) != float(loss.total.detach()) / 2


def test_frozen_weights_get_nothing_and_trained_rows_get_both(fresh_backbone: Callable[[], Backbone]) -> None:
    learner = fresh_backbone()
    learner.model.requires_grad_(False)
    rows = np.unique(np.concatenate(learner.tokenizer([one.prompt for one in JUDGEMENTS])["input_ids"]))
    objective = match(learner)
    prepared = objective.prepare(JUDGEMENTS)
    with trained_rows(learner, rows.astype(np.int64)) as own:
        AdversarialObjective(objective, learner, size=SIZE).loss(prepared).total.backward()  # type: ignore[no-untyped-call]
        both = {name: weight.grad.clone() for name, weight in own.items() if weight.grad is not None}
        for weight in own.values():
            weight.grad = None
        objective.loss(prepared).total.backward()  # type: ignore[no-untyped-call]
        assert own["input"].grad is not None
        assert 0.5 < float(both["input"].norm() / own["input"].grad.norm()) < 10
        assert not torch.allclose(both["input"], 2 * own["input"].grad, rtol=1e-2)
    assert all(weight.grad is None for weight in learner.model.parameters())


class Lengths:
    """Reads two batches of prompts; the loss is how long their states are along a given direction."""

    name = "lengths"
    apart = True

    def __init__(self, model: Any) -> None:
        self.model = model
        self.calls = 0

    def draw(self, rng: np.random.Generator, size: int) -> list[int]:
        return [int(number) for number in rng.integers(2, 60, size)]

    def prepare(self, examples: list[int]) -> list[tuple[Tensor, Tensor]]:
        ids = torch.tensor(examples).repeat(7, 1).T.contiguous()
        mask = (torch.arange(7) < 1 + torch.arange(len(examples))[:, None]).long()
        return [(ids, mask), (ids.flip(0), mask.flip(0)[:, :5])]

    def loss(self, prepared: list[tuple[Tensor, Tensor]]) -> LossSum:
        self.calls += 1
        states = [encoder_states(self.model, ids[:, : mask.shape[1]], mask)[0] for ids, mask in prepared]
        return LossSum(sum((one[..., 0] * one[..., 1]).sum() for one in states), float(len(prepared[0][0])))  # type: ignore[arg-type]


def test_several_steps_stay_in_the_ball_and_take_the_loss_on_the_way(backbone: Backbone, small_t5: Any) -> None:
    tiny, size = replace(backbone, model=small_t5), 0.05
    objective = Lengths(small_t5)
    prepared = objective.prepare(objective.draw(np.random.default_rng(0), 5))
    shifts, expected, values = Shifts(), dict[str, Tensor](), []
    for step in range(4):
        small_t5.zero_grad()
        shifts.begin()
        with perturbation(small_t5, shifts):
            loss = objective.loss(prepared)
        values.append(float(loss.total.detach()))
        for name, value in gradients(loss, small_t5).items():
            expected[name] = expected.get(name, torch.zeros(())) + value * (1.0 if step == 0 else 1 / 3)
        shifts.climb(size, 2.5 / 3, further=True)
        assert len(shifts.values) == 2
        for at, value in enumerate(shifts.values):
            ids, mask = prepared[at]
            table = small_t5.get_input_embeddings()
            for row, part in enumerate(value.split(mask.sum(dim=1).tolist())):
                whole = table(ids[row, : int(mask[row].sum())]).detach().norm()
                assert float(part.detach().norm()) <= size * float(whole) * (1 + 1e-5)
    assert values[3] > values[1] > values[0]
    small_t5.zero_grad()
    objective.calls = 0
    found = AdversarialObjective(objective, tiny, size=size, steps=3).loss(prepared)
    assert float(found.total.detach()) == pytest.approx(values[0] + sum(values[1:]) / 3, rel=1e-4)
    assert objective.calls == 4
    for name, value in gradients(found, small_t5).items():
        torch.testing.assert_close(value, expected[name], atol=5e-3 * float(expected[name].abs().max()), rtol=1e-2)


@pytest.mark.parametrize("steps", [1, 3])
def test_activation_checkpointing_changes_nothing(backbone: Backbone, small_t5: Any, steps: int) -> None:
    tiny = replace(backbone, model=small_t5.train())
    objective = Lengths(small_t5)
    prepared = objective.prepare([5, 9, 11, 30])
    found = []
    for on in (False, True):
        recompute_blocks(small_t5, on)
        small_t5.zero_grad()
        torch.manual_seed(7)
        loss = AdversarialObjective(objective, tiny, size=0.1, steps=steps).loss(prepared)
        found.append((float(loss.total.detach()), gradients(loss, small_t5)))
    recompute_blocks(small_t5, False)
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    for name, value in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], value, atol=1e-5, rtol=1e-3)


def test_under_autocast_the_gradient_is_that_of_both_losses_too(backbone: Backbone, small_t5: Any) -> None:
    tiny = replace(backbone, model=small_t5)
    objective = Lengths(small_t5)
    prepared = objective.prepare([5, 9, 11, 30])
    shifts, parts = Shifts(), []
    for _ in range(2):
        small_t5.zero_grad()
        shifts.begin()
        with torch.autocast("cpu", torch.bfloat16), perturbation(small_t5, shifts):
            loss = objective.loss(prepared)
        parts.append(gradients(loss, small_t5))
        shifts.climb(0.1, 1.0, further=False)
    small_t5.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        loss = AdversarialObjective(objective, tiny, size=0.1).loss(prepared)
    for name, value in gradients(loss, small_t5).items():
        expected = parts[0][name] + parts[1][name]
        torch.testing.assert_close(value, expected, atol=0.02 * float(expected.abs().max()), rtol=0.02)


def test_prompts_without_a_slope_and_losses_without_prompts_stay(backbone: Backbone, small_t5: Any) -> None:
    shifts = Shifts()
    ids, mask = torch.tensor([[5, 6], [7, 8]]), torch.ones(2, 2, dtype=torch.long)
    with perturbation(small_t5, shifts):
        encoder_states(small_t5, ids, mask)[0][0].sum().backward()
    shifts.climb(0.1, 1.0, further=False)
    assert bool((shifts.values[0][2:] == 0).all())
    assert bool((shifts.values[0][:2] != 0).any())
    weight = torch.nn.Parameter(torch.ones(()))

    class Promptless(Lengths):
        def loss(self, prepared: Any) -> LossSum:
            return LossSum(3 * weight, 1.0)

    loss = AdversarialObjective(Promptless(small_t5), replace(backbone, model=small_t5)).loss([])
    assert float(loss.total.detach()) == 3.0
    loss.total.backward()  # type: ignore[no-untyped-call]
    assert float(weight.grad) == 3.0  # type: ignore[arg-type]
