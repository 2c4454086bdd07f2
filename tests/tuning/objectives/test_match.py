"""The loss of a yes or no, against the logits that matching reads."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from losses import loss_of

from flanrec.backbone import Backbone
from flanrec.generation import first_token_ids, yes_no_logits
from flanrec.tuning.objectives.match import Judgement, MatchObjective

JUDGEMENTS = [
    Judgement('Liked: Alien (1979). Would the user like "Aliens (1986)"? Answer yes or no.', True, 0.7),
    Judgement('Would the user like "Heat"? It is crime. Yes or no?', False, -1.2),
    Judgement("Is the sky green? yes or no", False, 2.5),
    Judgement("Is the sky green? yes or no", True, 0.0),
]


def unasked(_: np.random.Generator) -> Judgement:
    raise AssertionError("the loss draws nothing")


def objective(backbone: Backbone, yes: list[str], no: list[str]) -> MatchObjective:
    tokens = backbone.tokenizer
    return MatchObjective(backbone, unasked, first_token_ids(tokens, yes), first_token_ids(tokens, no))


def by_hand(logit: float, liked: bool) -> float:
    return math.log1p(math.exp(-logit if liked else logit))


@pytest.mark.parametrize(("yes", "no"), [(["yes"], ["no"]), (["yes", "Yes"], ["no", "No"])])
def test_the_loss_is_that_of_the_matching_logits_plus_the_offset(
    backbone: Backbone, yes: list[str], no: list[str]
) -> None:
    match = objective(backbone, yes, no)
    prompts = [one.prompt for one in JUDGEMENTS]
    logits = yes_no_logits(backbone.model, backbone.tokenizer, prompts, None, match.yes_ids, match.no_ids)
    expected = sum(by_hand(float(z) + one.offset, one.liked) for z, one in zip(logits, JUDGEMENTS, strict=True))
    with torch.no_grad():
        loss = loss_of(match, JUDGEMENTS)
    assert float(loss.total) == pytest.approx(expected, rel=1e-4)
    assert loss.count == 4.0


def test_the_loss_of_a_batch_is_the_sum_of_its_parts(backbone: Backbone) -> None:
    match = objective(backbone, ["yes"], ["no"])
    with torch.no_grad():
        parts = [float(loss_of(match, [one]).total) for one in JUDGEMENTS]
        assert float(loss_of(match, JUDGEMENTS).total) == pytest.approx(sum(parts), rel=1e-4)


def test_a_sure_offset_leaves_the_model_little_to_learn(backbone: Backbone) -> None:
    match = objective(backbone, ["yes"], ["no"])
    states: list[torch.Tensor] = []
    backbone.model.zero_grad()
    for offset in (0.0, 30.0):
        loss_of(match, [Judgement(JUDGEMENTS[0].prompt, True, offset)]).total.backward()  # type: ignore[no-untyped-call]
        gradient = backbone.model.get_output_embeddings().weight.grad
        states.append(gradient[match.yes_ids + match.no_ids].clone())
        backbone.model.zero_grad()
    assert float(states[0].norm()) > 0.1
    assert float(states[1].norm()) < 1e-6


def test_gradients_push_yes_up_and_no_down_for_a_like(backbone: Backbone) -> None:
    match = objective(backbone, ["yes"], ["no"])
    head = backbone.model.get_output_embeddings().weight
    directions = []
    for liked in (True, False):
        (gradient,) = torch.autograd.grad(loss_of(match, [Judgement("Is it good?", liked, 0.0)]).total, [head])
        assert gradient.abs().sum(dim=1).nonzero().flatten().tolist() == sorted(match.yes_ids + match.no_ids)
        directions.append(gradient[match.yes_ids[0]])
        torch.testing.assert_close(gradient[match.yes_ids[0]], -gradient[match.no_ids[0]])
    assert float(directions[0] @ directions[1]) < 0


def test_judgements_are_drawn_by_the_rng_it_is_given(backbone: Backbone) -> None:
    match = MatchObjective(backbone, lambda rng: JUDGEMENTS[int(rng.integers(4))], [5], [6])
    first = match.draw(np.random.default_rng(1), 20)
    assert len(first) == 20
    assert match.draw(np.random.default_rng(1), 20) == first
    assert match.draw(np.random.default_rng(2), 20) != first
