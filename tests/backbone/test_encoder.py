from __future__ import annotations

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

from flanrec.backbone import Backbone
from flanrec.backbone.encoder import encoder_states
from flanrec.backbone.rows import Rows

SMALL = {"vocab_size": 60, "d_model": 16, "d_kv": 8, "num_heads": 3, "d_ff": 24, "num_layers": 3}
SMALL |= {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}
FAMILIES = [
    lambda: T5ForConditionalGeneration(T5Config(**SMALL, feed_forward_proj="relu")),
    lambda: T5ForConditionalGeneration(T5Config(**SMALL, feed_forward_proj="gated-gelu")),
    lambda: MT5ForConditionalGeneration(MT5Config(**SMALL)),
    lambda: UMT5ForConditionalGeneration(UMT5Config(**SMALL)),
]


def assert_states_are_those_of_transformers(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> None:
    with torch.inference_mode():
        expected = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        states = encoder_states(model, ids, mask)
    torch.testing.assert_close(states[mask == 1], expected[mask == 1], atol=2e-5, rtol=1e-4)
    assert (states[mask == 0] == 0).all()


@pytest.mark.parametrize("make", FAMILIES, ids=["t5", "gated", "mt5", "umt5"])
@pytest.mark.parametrize("lengths", [(40, 40), (40, 3, 1)], ids=["even", "ragged"])
def test_states_are_those_of_transformers_in_every_family(make: Any, lengths: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    ids = torch.randint(2, 60, (len(lengths), max(lengths)))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    assert_states_are_those_of_transformers(make().eval(), ids, mask)


def test_states_are_those_of_transformers_on_the_real_checkpoint(backbone: Backbone) -> None:
    texts = ["A viewer liked Star Wars (1977), Alien (1979). Which movie comes next?", "A dog.", ""]
    assert_states_are_those_of_transformers(backbone.model, *backbone.encode_texts(texts))


def test_rows_spread_what_they_gather_and_nothing_else() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    states = torch.arange(12.0).view(2, 3, 2)
    rows = Rows.of_mask(mask)
    assert rows.gather(states).tolist() == [[0, 1], [2, 3], [6, 7]]
    assert torch.equal(rows.spread(rows.gather(states)), states * mask[..., None])
    assert Rows.of_mask(torch.ones(2, 3)).index is None
