from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from transformers import (
    MT5Config,
    MT5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
    UMT5Config,
    UMT5ForConditionalGeneration,
)

from flanrec.backbone.decoder import causal, decoder_states
from flanrec.backbone.rows import Rows

SMALL = {"vocab_size": 60, "d_model": 16, "d_kv": 8, "num_heads": 3, "d_ff": 24, "num_layers": 3}
SMALL |= {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}
FAMILIES = [
    lambda: T5ForConditionalGeneration(T5Config(**SMALL, feed_forward_proj="relu")),
    lambda: T5ForConditionalGeneration(T5Config(**SMALL, feed_forward_proj="gated-gelu")),
    lambda: MT5ForConditionalGeneration(MT5Config(**SMALL)),
    lambda: UMT5ForConditionalGeneration(UMT5Config(**SMALL)),
]


@pytest.mark.parametrize("make", FAMILIES, ids=["t5", "gated", "mt5", "umt5"])
def test_states_are_those_of_transformers_in_every_family(make: Any) -> None:
    torch.manual_seed(1)
    stack = make().eval().get_decoder()
    embedded, prompts = torch.randn(2, 45, 16), torch.randn(2, 9, 16)
    prompt_mask = torch.tensor([[1] * 9, [1] * 4 + [0] * 5])
    real = torch.arange(45) < torch.tensor([[45], [20]])
    rows = Rows.of_mask(real)
    with torch.inference_mode():
        expected = stack(inputs_embeds=embedded, encoder_hidden_states=prompts, encoder_attention_mask=prompt_mask)
        states = decoder_states(stack, rows.gather(embedded), rows, causal(45, embedded.device), prompts, prompt_mask)
    torch.testing.assert_close(states, expected.last_hidden_state[real], atol=2e-5, rtol=1e-4)


def test_a_causal_barrier_hides_what_comes_later() -> None:
    assert causal(3, torch.device("cpu"))[0, 0].tolist() == [[0, -math.inf, -math.inf], [0, 0, -math.inf], [0, 0, 0]]
