"""A smaller T5 keeps some blocks of a larger one and everything else, and is a checkpoint like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from flanrec.backbone import Backbone, load_backbone
from flanrec.backbone.adapters import AdapterSettings, add_adapter
from flanrec.backbone.encoder import encoder_states
from flanrec.backbone.shrinking import kept_blocks, shrunken
from flanrec.errors import SettingsError
from flanrec.generation import title_log_probabilities

PROMPTS = ["Which movie comes next after Alien (1979); Heat (1995)?", "yes or no: is the sky green?"]
TITLES = ["Toy Story (1995)", "Alien 3", "Ed Wood"]


def scores(backbone: Backbone) -> torch.Tensor:
    rows = backbone.tokenizer(TITLES)["input_ids"]
    return torch.from_numpy(title_log_probabilities(backbone, PROMPTS, rows))


def test_with_all_blocks_kept_it_is_the_same_model(backbone: Backbone) -> None:
    assert torch.equal(scores(shrunken(backbone, 8, 8)), scores(backbone))


def test_it_has_the_kept_blocks_with_their_weights_and_the_whole_tables(backbone: Backbone) -> None:
    small = shrunken(backbone, 3, 2)
    weights = small.model.state_dict()
    whole = backbone.model.state_dict()
    for stack, kept in (("encoder", [0, 4, 7]), ("decoder", [0, 7])):
        assert {name.split(".")[2] for name in weights if name.startswith(f"{stack}.block.")} == set(
            map(str, range(len(kept)))
        )
        for place, old in enumerate(kept):
            prefix = f"{stack}.block.{place}."
            own = {name: value for name, value in weights.items() if name.startswith(prefix)}
            assert own
            for name, value in own.items():
                assert torch.equal(value, whole[f"{stack}.block.{old}.{name.removeprefix(prefix)}"])
        assert f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight" in weights
    for name in ("shared.weight", "lm_head.weight", "encoder.final_layer_norm.weight"):
        assert torch.equal(weights[name], whole[name])
    assert small.source.name.endswith(", 3+2 blocks")


def test_the_larger_one_stays_as_it_is(backbone: Backbone) -> None:
    before = scores(backbone)
    shrunken(backbone, 1, 1)
    assert torch.equal(scores(backbone), before)
    assert (backbone.model.config.num_layers, len(backbone.model.get_encoder().block)) == (8, 8)


def test_saved_and_loaded_it_says_the_same_with_a_head_of_its_own(backbone: Backbone, tmp_path: Path) -> None:
    small = shrunken(backbone, 4, 2)
    small.save(tmp_path / "small")
    loaded = load_backbone(tmp_path / "small", device="cpu")
    torch.testing.assert_close(scores(loaded), scores(small), rtol=0, atol=0)
    assert loaded.head_is_separate
    assert (loaded.model.config.num_layers, loaded.model.config.num_decoder_layers) == (4, 2)


def test_what_transformers_makes_of_it_is_what_flanrec_reads(backbone: Backbone) -> None:
    """Its own decoding keeps the past of each block under a number, which must follow."""
    small = shrunken(backbone, 4, 3)
    ids, mask = small.encode_texts(PROMPTS)
    with torch.no_grad():
        states, _ = encoder_states(small.model, ids, mask)
        found = small.model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        torch.testing.assert_close(states[mask == 1], found[mask == 1], rtol=1e-4, atol=1e-4)
        labels, _ = small.encode_texts(["Toy Story"])
        whole = small.model(input_ids=ids[:1], attention_mask=mask[:1], labels=labels).logits.argmax(-1)[0, 0]
        said = small.model.generate(input_ids=ids[:1], attention_mask=mask[:1], max_new_tokens=4, do_sample=False)
    assert int(said[0, 1]) == int(whole)


def test_every_family_shrinks(small_t5: Any, backbone: Backbone) -> None:
    import dataclasses

    large = dataclasses.replace(backbone, model=small_t5)
    small = shrunken(large, 1, 2)
    ids = torch.tensor([[5, 9, 1]])
    with torch.no_grad():
        small.model(input_ids=ids, labels=ids)
    assert small.head_is_separate == large.head_is_separate


@pytest.mark.parametrize(("encoder", "decoder"), [(0, 4), (4, 9), (-1, 1)])
def test_more_blocks_than_there_are_or_none_are_refused(backbone: Backbone, encoder: int, decoder: int) -> None:
    with pytest.raises(SettingsError, match="choose a number from 1 to 8"):
        shrunken(backbone, encoder, decoder)


def test_what_carries_a_prompt_or_an_adapter_is_refused(fresh_backbone: Callable[[], Backbone]) -> None:
    for method in ("prompt-tuning", "lora"):
        with pytest.raises(SettingsError, match="takes a plain T5"):
            shrunken(add_adapter(fresh_backbone(), AdapterSettings(method=method)), 4, 4)


@pytest.mark.parametrize("total", [1, 6, 12, 24])
def test_first_and_last_block_are_kept_and_none_comes_twice(total: int) -> None:
    for kept in range(2, total + 1):
        found = kept_blocks(total, kept)
        assert (found[0], found[-1], len(set(found)), found) == (0, total - 1, kept, sorted(found))
