from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import (
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.models.t5.modeling_t5 import T5Attention

from flanrec.backbone import Backbone
from flanrec.generation.decoder import TreeDecoder, distance_buckets
from flanrec.generation.forest import plant

SMALL = {"vocab_size": 60, "d_model": 16, "d_kv": 8, "num_heads": 3, "d_ff": 24, "num_layers": 2}
SMALL |= {"num_decoder_layers": 3, "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1}


def tied_t5() -> Any:
    return T5ForConditionalGeneration(T5Config(**SMALL, feed_forward_proj="relu"))


def tied_gated_t5() -> Any:
    return T5ForConditionalGeneration(T5Config(**SMALL, feed_forward_proj="gated-gelu"))


def assert_a_tree_gives_the_logits_of_its_sequences(model: Any, highest_token: int) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    ids = torch.randint(2, highest_token, (2, 7))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    beginnings = [[[0, *rng.integers(2, highest_token, 3).tolist()] for _ in range(3)] for _ in range(2)]
    endings = [[row[-1:] + rng.integers(2, highest_token, 40).tolist() for row in user] for user in beginnings]
    with torch.inference_mode():
        hidden = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        decoder = TreeDecoder.start(model, hidden, mask)
        first = plant([[row[:-1] for row in user] for user in beginnings])
        decoder.extend(first.tokens, first.parents)
        under = [[path[-1] for path in user] for user in first.paths]
        second = plant(endings, under, before=decoder.n_nodes)
        states = decoder.select(np.array([1, 0])).extend(second.tokens[::-1].copy(), second.parents[::-1].copy())
        logits = model.get_output_embeddings()(states).flip(0)
        for user in range(2):
            for row in range(3):
                sequence = torch.tensor([beginnings[user][row] + endings[user][row][1:]])
                expected = model(
                    input_ids=ids[user : user + 1], attention_mask=mask[user : user + 1], decoder_input_ids=sequence
                ).logits[0, 3:]
                torch.testing.assert_close(logits[user, second.paths[user][row]], expected, atol=1e-4, rtol=1e-4)


def test_a_tree_gives_the_logits_of_its_sequences_in_every_family(small_t5: Any) -> None:
    assert_a_tree_gives_the_logits_of_its_sequences(small_t5, 60)


def test_fillers_change_nothing_and_come_out_as_zeros() -> None:
    torch.manual_seed(2)
    model = tied_gated_t5().eval()
    ids = torch.randint(2, 60, (2, 5))
    mask = torch.ones_like(ids)
    rows = [[[0, 7, 8, 9], [0, 7, 5]], [[0, 3]]]
    forest = plant(rows)
    assert forest.counts.tolist() == [5, 2]
    with torch.inference_mode():
        hidden = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        states = TreeDecoder.start(model, hidden, mask).extend(forest.tokens, forest.parents, forest.counts)
        assert (states[1, 2:] == 0).all()
        for user, count in enumerate(forest.counts):
            alone = plant([rows[user]])
            decoder = TreeDecoder.start(model, hidden[user : user + 1], mask[user : user + 1])
            expected = decoder.extend(alone.tokens, alone.parents)[0]
            torch.testing.assert_close(states[user, :count], expected, atol=1e-5, rtol=1e-4)


def test_a_tree_gives_the_logits_of_its_sequences_on_the_real_checkpoint(backbone: Backbone) -> None:
    assert not backbone.model.config.scale_decoder_outputs
    assert_a_tree_gives_the_logits_of_its_sequences(backbone.model, 30_000)


def test_a_tree_gives_the_logits_of_its_sequences_under_lora() -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    adapted = get_peft_model(tied_t5(), LoraConfig(r=4, target_modules=["q", "v"], init_lora_weights=False)).eval()
    assert_a_tree_gives_the_logits_of_its_sequences(adapted, 60)


def test_distance_buckets_are_those_of_transformers() -> None:
    back = -torch.arange(300)
    expected = T5Attention._relative_position_bucket(back, bidirectional=False, num_buckets=32, max_distance=128)
    assert torch.equal(distance_buckets(300, 32, 128), expected)
