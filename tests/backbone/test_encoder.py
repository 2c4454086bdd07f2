from __future__ import annotations

from typing import Any

import pytest
import torch

from flanrec.backbone import Backbone
from flanrec.backbone.encoder import encoder_states
from flanrec.backbone.rows import Rows


def assert_states_are_those_of_transformers(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> None:
    with torch.inference_mode():
        expected = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        states, _ = encoder_states(model, ids, mask)
    torch.testing.assert_close(states[mask == 1], expected[mask == 1], atol=2e-5, rtol=1e-4)
    assert (states[mask == 0] == 0).all()


@pytest.mark.parametrize("lengths", [(40, 40), (40, 3, 1)], ids=["even", "ragged"])
def test_states_are_those_of_transformers_in_every_family(small_t5: Any, lengths: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    ids = torch.randint(2, 60, (len(lengths), max(lengths)))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    assert_states_are_those_of_transformers(small_t5, ids, mask)


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
