"""LoRA on the real checkpoint: starts as no change, merges exactly, and knows its backbone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from flanrec.backbone import Backbone, load_backbone
from flanrec.backbone.adapters import AdapterSettings, add_adapter, fingerprint, load_adapter, merge, save_adapter
from flanrec.errors import CheckpointError, SettingsError


def fresh() -> Backbone:
    return load_backbone("offline", device="cpu")


def logits(backbone: Backbone) -> Tensor:
    ids, mask = backbone.encode_texts(["Which film comes after Alien, Aliens?", "yes or no?"])
    with torch.no_grad():
        start = torch.tensor([[0, 3, 100], [0, 7, 5]])
        result: Tensor = backbone.model(input_ids=ids, attention_mask=mask, decoder_input_ids=start).logits
    return result


def lora(**size: Any) -> Backbone:
    return add_adapter(fresh(), AdapterSettings(**size))


def trained(backbone: Backbone, seed: int = 0) -> Backbone:
    """Give the adapter's B matrices, which start at zero, some values, as training would."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in backbone.model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.randn(weight.shape, generator=draw) * 0.02)
    return backbone


def test_a_new_adapter_changes_nothing_and_trains_little() -> None:
    before = logits(fresh())
    adapted = lora(rank=8, targets=("q", "v"))
    torch.testing.assert_close(logits(adapted), before, atol=1e-5, rtol=0)
    names = [name for name, weight in adapted.model.named_parameters() if weight.requires_grad]
    assert names
    assert all("lora_" in name for name in names)
    # q and v of 8 encoder and 2 * 8 decoder attentions, each 8 * (512 + 384) numbers
    count = sum(weight.numel() for weight in adapted.model.parameters() if weight.requires_grad)
    assert count == 2 * 24 * 8 * (512 + 384)


def test_all_dense_layers_are_changed_where_no_maps_are_named() -> None:
    names = [name for name, weight in lora(rank=2).model.named_parameters() if weight.requires_grad]
    assert len(names) == 2 * 3 * 16
    assert {name.split(".")[-4] for name in names} == {"wi_0", "wi_1", "wo"}


def test_merging_keeps_the_logits_and_the_separate_head(tmp_path: Path) -> None:
    adapted = trained(lora(rank=4))
    wanted = logits(adapted)
    assert (wanted - logits(fresh())).abs().max() > 0.1
    merged = merge(adapted)
    assert merged.head_is_separate
    assert all(weight.requires_grad for weight in merged.model.parameters())
    torch.testing.assert_close(logits(merged), wanted, atol=1e-4, rtol=0)
    merged.resize_vocabulary(32200)
    merged.resize_vocabulary(32128)
    merged.save(tmp_path / "merged")
    torch.testing.assert_close(logits(Backbone.load(tmp_path / "merged", device="cpu")), wanted, atol=1e-4, rtol=0)


def test_an_adapter_saved_alone_comes_back(tmp_path: Path) -> None:
    adapted = trained(lora(rank=4, targets=("q", "v", "wi_0")))
    save_adapter(adapted, tmp_path / "adapter")
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "manifest.json",
    }  # fmt: skip
    again = load_adapter(fresh(), tmp_path / "adapter")
    torch.testing.assert_close(logits(again), logits(adapted), atol=1e-5, rtol=0)
    assert not any(weight.requires_grad for weight in again.model.parameters())
    onward = load_adapter(fresh(), tmp_path / "adapter", trainable=True)
    assert any(weight.requires_grad for weight in onward.model.parameters())


def test_a_saved_adapter_names_its_backbone_but_no_path(tmp_path: Path) -> None:
    save_adapter(lora(rank=2), tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "traceforge-title-model"
    assert str(Path.home()) not in (tmp_path / "adapter" / "adapter_config.json").read_text()


def test_an_adapter_of_another_backbone_is_refused(tmp_path: Path) -> None:
    save_adapter(lora(rank=2), tmp_path / "adapter")
    other = fresh()
    with torch.no_grad():
        other.model.decoder.final_layer_norm.weight += 0.5
    with pytest.raises(CheckpointError, match="which is not the loaded backbone"):
        load_adapter(other, tmp_path / "adapter")


def test_a_damaged_adapter_and_a_wrong_folder_are_refused(tmp_path: Path) -> None:
    save_adapter(lora(rank=2), tmp_path / "adapter")
    with (tmp_path / "adapter" / "adapter_model.safetensors").open("r+b") as stream:
        stream.seek(5000)
        stream.write(b"\xff")
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors"):
        load_adapter(fresh(), tmp_path / "adapter")
    fresh().save(tmp_path / "backbone")
    with pytest.raises(CheckpointError, match="holds a backbone, not an adapter"):
        load_adapter(fresh(), tmp_path / "backbone")


def test_an_adapter_with_values_that_are_not_finite_is_not_merged() -> None:
    adapted = trained(lora(rank=2))
    with torch.no_grad():
        next(weight for name, weight in adapted.model.named_parameters() if "lora_B" in name)[0, 0] = float("nan")
    with pytest.raises(CheckpointError, match="cannot be merged"):
        merge(adapted)


def test_the_fingerprint_ignores_the_adapter_and_the_precision() -> None:
    plain = fingerprint(fresh())
    assert fingerprint(trained(lora(rank=2))) == plain
    assert fingerprint(load_backbone("offline", device="cpu", precision="bf16")) == plain


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"targets": ("query",)}, "targets"),
        ({"targets": ("q", "query")}, r"\['query'\] are not linear maps .* 'wi_0'"),
    ],
)
def test_targets_that_the_model_lacks_are_refused(settings: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        add_adapter(fresh(), AdapterSettings(**settings))  # type: ignore[arg-type]


def test_the_order_of_steps_is_enforced(tmp_path: Path) -> None:
    adapted = lora(rank=2)
    with pytest.raises(SettingsError, match="carries an adapter already"):
        add_adapter(adapted, AdapterSettings())
    with pytest.raises(SettingsError, match="Call merge"):
        adapted.save(tmp_path / "model")
    with pytest.raises(SettingsError, match="carries no adapter"):
        merge(fresh())
