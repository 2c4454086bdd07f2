from __future__ import annotations

import math
from typing import Any

import torch

from flanrec.backbone.decoder import causal, decoder_states
from flanrec.backbone.rows import Rows


def test_states_are_those_of_transformers_in_every_family(small_t5: Any) -> None:
    torch.manual_seed(1)
    stack = small_t5.get_decoder()
    embedded, prompts = torch.randn(2, 45, 16), torch.randn(2, 9, 16)
    prompt_mask = torch.tensor([[1] * 9, [1] * 4 + [0] * 5])
    real = torch.arange(45) < torch.tensor([[45], [20]])
    rows = Rows.of_mask(real)
    with torch.inference_mode():
        expected = stack(inputs_embeds=embedded, encoder_hidden_states=prompts, encoder_attention_mask=prompt_mask)
        states = decoder_states(stack, rows.gather(embedded), rows, causal(45, embedded.device), prompts, prompt_mask)
        wanted = torch.tensor([30, 19])
        only = decoder_states(
            stack, rows.gather(embedded), rows, causal(45, embedded.device), prompts, prompt_mask, wanted
        )
    torch.testing.assert_close(states, expected.last_hidden_state[real], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(only, expected.last_hidden_state[[0, 1], wanted], atol=2e-5, rtol=1e-4)


def test_a_causal_barrier_hides_what_comes_later() -> None:
    assert causal(3, torch.device("cpu"))[0, 0].tolist() == [[0, -math.inf, -math.inf], [0, 0, -math.inf], [0, 0, 0]]
