"""Packed reading of several answers: the states, gradients and dropout of transformers' own forward pass."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from flanrec.backbone import Backbone
from flanrec.tuning.packing import answer_states, asked

PROMPTS = [
    "A viewer liked Star Wars (1977), Alien (1979), The Garden of Love and much more. Which movie comes next?",
    "A dog.",
]
ANSWERS = [[[7, 8, 9, 1], [7, 5, 1]], [[30, 31, 32, 33, 34, 1]]]


def states_of(backbone: Backbone) -> torch.Tensor:
    return answer_states(backbone, asked(backbone, PROMPTS, ANSWERS, [[1.0, 1.0], [1.0]], 128))


def theirs(backbone: Backbone) -> torch.Tensor:
    """Each answer by itself through transformers' layers."""
    model: Any = backbone.model
    found = []
    for prompt, answers in zip(PROMPTS, ANSWERS, strict=True):
        ids, mask = backbone.encode_texts([prompt])
        for answer in answers:
            encoded = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
            inputs = torch.tensor([[model.config.decoder_start_token_id, *answer[:-1]]])
            read = model.get_decoder()(input_ids=inputs, encoder_hidden_states=encoded, encoder_attention_mask=mask)
            found.append(read.last_hidden_state[0])
    return torch.cat(found)


def test_states_are_those_of_each_answer_by_itself(backbone: Backbone) -> None:
    with torch.inference_mode():
        torch.testing.assert_close(states_of(backbone), theirs(backbone), atol=1e-4, rtol=1e-4)


def test_gradients_are_those_of_each_answer_by_itself(fresh_backbone: Callable[[], Backbone]) -> None:
    learner = fresh_backbone()
    names = ["shared", "q.weight", "k.weight", "wi_0.weight", "wo.weight", "relative_attention_bias.weight", "norm"]
    watched = {name: weight for name, weight in learner.model.named_parameters() if any(n in name for n in names)}
    target = torch.randn(13, 512)
    found = []
    for states in (states_of(learner), theirs(learner)):
        found.append(torch.autograd.grad((states * target).sum(), list(watched.values())))
    for name, ours, expected in zip(watched, *found, strict=True):
        scale = float(expected.abs().max())
        assert (ours - expected).abs().max() < 1e-4 * scale + 1e-6, name


def test_dropout_acts_in_training_and_repeats_by_seed(backbone: Backbone) -> None:
    learner = replace(backbone, model=copy.deepcopy(backbone.model).train())
    with torch.no_grad():
        torch.manual_seed(5)
        first, second = states_of(learner), states_of(learner)
        torch.manual_seed(5)
        assert torch.equal(states_of(learner), first)
        exact = states_of(backbone)
    assert not torch.equal(first, second)
    assert 0.02 < float((first - exact).norm() / exact.norm()) < 1.0


@pytest.mark.parametrize("train", [True, False])
def test_attention_weights_are_dropped_too(backbone: Backbone, train: bool) -> None:
    learner = replace(backbone, model=copy.deepcopy(backbone.model).train(train))
    for layer in learner.model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
    with torch.no_grad():
        torch.manual_seed(6)
        differs = not torch.allclose(states_of(learner), states_of(backbone), atol=1e-4)
    assert differs == train
