"""Instructions through the frozen encoder, on the real checkpoint."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from flanrec.backbone import Backbone, prompts
from flanrec.backbone.encoder import stack_states
from flanrec.backbone.hardware import has_fast_bf16
from flanrec.backbone.lowered import lowered
from flanrec.backbone.prompts import PromptEncoder, mean_embeddings, mean_states

PROMPTS = ["Recommend a movie.", "The user wants comedy but no drama. Choose the next movie.", "Next?"]


def plain_states(backbone: Backbone, text: str, *, low: bool = has_fast_bf16(torch.device("cpu"))) -> Tensor:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=low):
        ids = torch.tensor([backbone.tokenizer(text)["input_ids"]])
        states: Tensor = backbone.model.get_encoder()(input_ids=ids).last_hidden_state[0]
        return states.float()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batch sizes that the encoder has read while a test runs."""
    sizes: list[int] = []
    usual = prompts.stack_states

    def noted(stack: Any, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(len(ids))
        return usual(stack, ids, mask)

    monkeypatch.setattr(prompts, "stack_states", noted)
    return sizes


def test_states_are_those_of_each_prompt_by_itself(backbone: Backbone) -> None:
    states, mask, _ = PromptEncoder(backbone).encode(PROMPTS)
    assert states.shape == (3, int(mask.sum(dim=1).max()), 512)
    for row, prompt in enumerate(PROMPTS):
        alone = plain_states(backbone, prompt)
        length = len(alone)
        assert mask[row].tolist() == [1] * length + [0] * (mask.shape[1] - length)
        torch.testing.assert_close(states[row, :length], alone, atol=1e-4, rtol=1e-4)
        assert not states[row, length:].any()


def test_dense_weights_cast_beforehand_give_the_same_bits(backbone: Backbone) -> None:
    stack = backbone.model.get_encoder()
    low = lowered(stack)
    ids = torch.tensor([backbone.tokenizer(PROMPTS[1])["input_ids"]])
    mask = torch.ones_like(ids)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected, _ = stack_states(stack, ids, mask)
        found, _ = stack_states(low, ids, mask)
    assert torch.equal(found, expected)
    shared = {weight.data_ptr() for weight in stack.parameters()}
    own = sum(weight.nbytes for weight in low.parameters() if weight.data_ptr() not in shared)
    dense = sum(module.weight.nbytes for module in stack.modules() if isinstance(module, torch.nn.Linear))
    assert own == dense // 2


def test_states_do_not_depend_on_company_or_on_the_callers_autocast(backbone: Backbone) -> None:
    alone, mask, _ = PromptEncoder(backbone).encode(PROMPTS[:1])
    length = int(mask.sum())
    beside, _, _ = PromptEncoder(backbone).encode(PROMPTS)
    with torch.autocast("cpu", torch.bfloat16):
        low, _, _ = PromptEncoder(backbone).encode(PROMPTS[:1])
    assert torch.equal(alone[0], beside[0, :length])
    assert torch.equal(alone, low)


def test_repeated_prompts_are_read_once_and_come_in_the_order_asked(backbone: Backbone, read: list[int]) -> None:
    encoder = PromptEncoder(backbone)
    states, _, _ = encoder.encode([PROMPTS[2], PROMPTS[0], PROMPTS[2]])
    assert sum(read) == 2
    assert torch.equal(states[0], states[2])
    encoder.encode(PROMPTS)
    assert sum(read) == 3
    again, _, _ = encoder.encode([PROMPTS[2], PROMPTS[0], PROMPTS[2]])
    assert sum(read) == 3
    assert torch.equal(again, states)


def test_the_prompt_unused_the_longest_is_forgotten_first(backbone: Backbone, read: list[int]) -> None:
    encoder = PromptEncoder(backbone, remember=2)
    encoder.encode(PROMPTS[:2])
    encoder.encode(PROMPTS[:1])
    encoder.encode(PROMPTS[2:])
    read.clear()
    encoder.encode([PROMPTS[0], PROMPTS[2]])
    assert read == []
    encoder.encode([PROMPTS[1]])
    assert read == [1]


def test_more_prompts_than_are_remembered_still_all_come_back(backbone: Backbone) -> None:
    states, _, _ = PromptEncoder(backbone, remember=1).encode(PROMPTS)
    expected, _, _ = PromptEncoder(backbone).encode(PROMPTS)
    torch.testing.assert_close(states, expected, atol=1e-4, rtol=1e-4)


def test_no_prompts_give_no_states(backbone: Backbone) -> None:
    states, mask, _ = PromptEncoder(backbone).encode([])
    assert states.shape == (0, 0, 512)
    assert mask.shape == (0, 0)


def test_states_carry_no_gradient_and_long_prompts_lose_their_end(backbone: Backbone) -> None:
    states, mask, _ = PromptEncoder(backbone, max_length=8).encode(["movie " * 50])
    assert not states.requires_grad
    assert mask.shape == (1, 8)


def test_a_mean_state_is_the_mean_over_the_text_alone(backbone: Backbone) -> None:
    got = mean_states(backbone, PROMPTS, batch_size=2)
    expected = torch.stack([plain_states(backbone, prompt, low=False).mean(dim=0) for prompt in PROMPTS])
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_a_mean_embedding_leaves_the_end_token_out(backbone: Backbone) -> None:
    got = mean_embeddings(backbone, ["Alien", "", "Alien Alien"])
    ids = backbone.tokenizer("Alien")["input_ids"][:-1]
    with torch.no_grad():
        expected = backbone.model.shared.weight[torch.tensor(ids)].mean(dim=0)
    torch.testing.assert_close(got[0], expected)
    assert not got[1].any()
    torch.testing.assert_close(got[2], expected)
    assert mean_embeddings(backbone, []).shape == mean_states(backbone, []).shape == (0, 512)


def test_half_precision_gives_float_states(backbone: Backbone) -> None:
    import copy

    half = replace(backbone, model=copy.deepcopy(backbone.model).bfloat16(), dtype=torch.bfloat16)
    states, _, _ = PromptEncoder(half).encode(PROMPTS[:1])
    assert states.dtype == mean_states(half, PROMPTS[:1]).dtype == torch.float32
    torch.testing.assert_close(states[0], plain_states(backbone, PROMPTS[0]), atol=0.1, rtol=0.1)
