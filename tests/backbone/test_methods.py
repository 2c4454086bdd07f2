"""Every parameter-efficient method on the real checkpoint: it tunes generation, is saved, and comes back the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from flanrec.backbone import Backbone
from flanrec.backbone.adapters import (
    METHODS,
    AdapterMethod,
    AdapterSettings,
    add_adapter,
    finished,
    load_adapter,
    merge,
    save_adapter,
    shared,
)
from flanrec.backbone.adapters.sharing import hold_once
from flanrec.backbone.attachments import attached, detached
from flanrec.backbone.attachments.prefix import Prefix
from flanrec.backbone.encoder import attend, encoder_states
from flanrec.catalogue import Catalogue
from flanrec.errors import SettingsError
from flanrec.generation import generate_items, yes_no_logits
from flanrec.generation.engines import exporting
from flanrec.tuning.packing import answer_states, asked

PROMPTS = [
    "A user watched Amber Harbour (1980), Basalt Quarry (1988). Which movie comes next?",
    "Which movie suits someone who likes comedy?",
]
KEPT: tuple[AdapterMethod, ...] = ("prompt-tuning", "p-tuning", "prefix-tuning", "adapter")


def made(backbone: Backbone, method: AdapterMethod, **size: Any) -> Backbone:
    torch.manual_seed(0)
    return add_adapter(backbone, AdapterSettings(method=method, **size), steps=10)


def answers(backbone: Backbone, catalogue: Catalogue) -> Tensor:
    """Loss of answering the prompts with the first two titles: what `tuned` makes smaller."""
    rows = [[backbone.tokenizer(catalogue.titles[at])["input_ids"]] for at in range(2)]
    question = asked(backbone, PROMPTS, rows, [[1.0], [1.0]], 64)
    states = answer_states(backbone, question)
    logits = backbone.model.get_output_embeddings()(states)
    return functional.cross_entropy(logits, question.packed.labels[question.packed.said])


def tuned(backbone: Backbone, catalogue: Catalogue, rate: float = 1e-2, steps: int = 3) -> tuple[float, float]:
    """Some updates of what is trained; the loss before and after."""
    weights = [weight for weight in backbone.model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=rate)
    losses = []
    for _ in range(steps):
        loss = answers(backbone, catalogue)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    with torch.no_grad():
        return losses[0], float(answers(backbone, catalogue))


def told(backbone: Backbone, catalogue: Catalogue) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What generation gives the best titles, and what the match reading says: all paths of inference."""
    _, scores = generate_items(backbone, PROMPTS, catalogue.trie, k=5, num_beams=5)
    odds = yes_no_logits(backbone.model, backbone.tokenizer, PROMPTS, None, [4273], [150])
    return np.concatenate([scores.ravel(), odds])


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_little_tunes_generation_and_comes_back_the_same(
    method: AdapterMethod, backbone: Backbone, fresh_backbone: Callable[[], Backbone], small_catalogue: Catalogue,
    tmp_path: Path,
) -> None:  # fmt: skip
    untuned = told(backbone, small_catalogue)
    adapted = made(fresh_backbone(), method)
    trained = [weight.numel() for weight in adapted.model.parameters() if weight.requires_grad]
    assert 0 < sum(trained) < 0.02 * sum(weight.numel() for weight in backbone.model.parameters())
    before, after = tuned(adapted, small_catalogue)
    assert after < before - 0.01
    adapted.model.eval()
    wanted = told(adapted, small_catalogue)
    assert np.abs(wanted - untuned).max() > 1e-2
    save_adapter(adapted, tmp_path / "adapter")
    again = load_adapter(fresh_backbone(), tmp_path / "adapter")
    np.testing.assert_allclose(told(again, small_catalogue), wanted, atol=2e-4)
    done = finished(adapted)
    np.testing.assert_allclose(told(done, small_catalogue), wanted, atol=2e-3)
    done.save(tmp_path / "backbone")
    np.testing.assert_allclose(told(Backbone.load(tmp_path / "backbone"), small_catalogue), wanted, atol=2e-3)


def test_several_adapters_share_the_weights_of_one_base(
    backbone: Backbone, fresh_backbone: Callable[[], Backbone], small_catalogue: Catalogue, tmp_path: Path
) -> None:
    plain = told(backbone, small_catalogue)
    methods: tuple[AdapterMethod, ...] = ("lora", "prefix-tuning", "adapter", "prompt-tuning")
    wanted = {}
    for method in methods:
        adapted = made(fresh_backbone(), method)
        tuned(adapted, small_catalogue)
        wanted[method] = told(adapted, small_catalogue)
        save_adapter(adapted, tmp_path / method)
    base = fresh_backbone()
    tenants = {method: load_adapter(shared(base), tmp_path / method) for method in methods}
    for _ in range(2):  # in turn, as requests come
        for method, tenant in tenants.items():
            np.testing.assert_allclose(told(tenant, small_catalogue), wanted[method], atol=2e-4)
        np.testing.assert_allclose(told(base, small_catalogue), plain, atol=1e-5)
    places = {weight.data_ptr() for weight in base.model.parameters()}
    for tenant in tenants.values():
        own = sum(weight.numel() for weight in tenant.model.parameters() if weight.data_ptr() not in places)
        assert own < 0.02 * sum(weight.numel() for weight in base.model.parameters())
    merge(tenants["lora"])
    np.testing.assert_allclose(told(base, small_catalogue), plain, atol=1e-5)


def test_models_that_were_saved_whole_hold_what_they_have_in_common_once(
    fresh_backbone: Callable[[], Backbone], small_catalogue: Catalogue, tmp_path: Path
) -> None:
    methods: tuple[AdapterMethod, ...] = ("lora", "adapter", "prompt-tuning")
    for method in methods:
        adapted = made(fresh_backbone(), method, **({"targets": ("q",)} if method == "lora" else {}))
        tuned(adapted, small_catalogue)
        finished(adapted).save(tmp_path / method)
    loaded = [Backbone.load(tmp_path / method) for method in methods]
    wanted = [told(one, small_catalogue) for one in loaded]
    whole = sum(weight.nbytes for weight in fresh_backbone().model.parameters())
    assert hold_once(loaded[0], []) == 0
    first = hold_once(loaded[1], loaded[:1])  # all but the queries, which low-rank weights were merged into
    assert 0.9 * whole < first < whole
    assert hold_once(loaded[2], loaded[:2]) == whole
    assert hold_once(loaded[2], loaded[:2]) == 0
    for one, expected in zip(loaded, wanted, strict=True):
        np.testing.assert_array_equal(told(one, small_catalogue), expected)


def test_a_soft_prompt_of_real_words_reads_as_if_they_were_written(
    backbone: Backbone, fresh_backbone: Callable[[], Backbone]
) -> None:
    words = backbone.tokenizer("Answer this:", add_special_tokens=False)["input_ids"]
    carrying = made(fresh_backbone(), "prompt-tuning", length=len(words))
    table = backbone.model.get_input_embeddings().weight
    with torch.no_grad():
        carrying.model.get_encoder().soft_prompt.vectors.copy_(table[words] / 100)
    texts = ["which movie comes next?", "a much longer question about movies and what comes after them"]
    rows = [backbone.tokenizer(text)["input_ids"] for text in texts]
    with torch.no_grad():
        states, mask = encoder_states(carrying.model, *carrying.side_by_side(rows))
        expected, whole = encoder_states(backbone.model, *backbone.side_by_side([[*words, *row] for row in rows]))
    assert mask.tolist() == whole.tolist()
    torch.testing.assert_close(states, expected, atol=1e-4, rtol=1e-4)


def test_a_prefix_is_seen_by_every_place_and_is_not_masked() -> None:
    torch.manual_seed(3)
    queries, keys, values = (torch.randn(2, 3, 4, 8) for _ in range(3))
    bias = torch.zeros(2, 1, 4, 4)
    bias[0, :, :, 3] = -torch.inf

    class Attention:
        training, dropout = False, 0.0
        prefix = Prefix(torch.randn(3, 5, 8), torch.randn(3, 5, 8))

    found = attend(Attention, queries, keys, values, bias)
    own = Attention.prefix()
    for user in range(2):
        for head in range(3):
            seen = torch.cat([own[0, head], keys[user, head]])
            said = torch.cat([own[1, head], values[user, head]])
            scores = queries[user, head] @ seen.T + torch.cat([torch.zeros(4, 5), bias[user, 0]], dim=1)
            expected = scores.softmax(dim=1) @ said
            torch.testing.assert_close(found[user, :, head * 8 : head * 8 + 8], expected)


@pytest.mark.parametrize("method", ["prompt-tuning", "prefix-tuning"])
def test_what_transformers_would_leave_out_is_refused_instead(
    method: AdapterMethod, fresh_backbone: Callable[[], Backbone], tmp_path: Path
) -> None:
    carrying = made(fresh_backbone(), method)
    ids, mask = carrying.encode_texts(["which one?"])
    with pytest.raises(SettingsError, match="only flanrec's own encoder and decoder read"):
        carrying.model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=2)
    for form in ("ctranslate2", "onnx", "safetensors"):
        with pytest.raises(SettingsError, match="takes a plain T5"):
            exporting.export_backbone(carrying, tmp_path / form, form, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", KEPT)
def test_what_cannot_be_merged_says_so_and_can_be_taken_out(
    method: AdapterMethod, backbone: Backbone, fresh_backbone: Callable[[], Backbone]
) -> None:
    carrying = made(fresh_backbone(), method)
    with pytest.raises(SettingsError, match="cannot be merged"):
        merge(carrying)
    with pytest.raises(SettingsError, match="carries an adapter already"):
        made(carrying, "lora")
    with detached(carrying.model) as plain:
        assert plain.state_dict().keys() == backbone.model.state_dict().keys()
    found = attached(finished(carrying).model)
    assert found is not None
    assert (found.method, found.hidden) == (method, 0)
