"""The real offline Flan-T5: it answers, and its own head survives everything done to it."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from flanrec.artefact import write_manifest
from flanrec.backbone import Backbone, load_backbone
from flanrec.backbone.hardware import choose_device
from flanrec.errors import CheckpointError, SettingsError

PROMPTS = ["Which genre is the movie The Terminator?", "Is this review positive or negative? I loved it."]


@pytest.fixture
def fresh() -> Backbone:
    return load_backbone("offline", device="cpu")


@pytest.fixture(scope="module")
def saved(backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("backbone") / "saved"
    backbone.save(place)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Iterator[Path]:
    """A saved backbone to damage."""
    yield Path(shutil.copytree(saved, tmp_path / "saved"))
    shutil.rmtree(tmp_path / "saved")


def logits(backbone: Backbone, rows: int = 32128) -> Tensor:
    """Log-odds of three decoder positions over the original vocabulary, [2, 3, rows]."""
    ids, mask = backbone.encode_texts(PROMPTS)
    start = torch.tensor([[0, 3, 100], [0, 7, 5]])
    with torch.no_grad():
        result: Tensor = backbone.model(input_ids=ids, attention_mask=mask, decoder_input_ids=start).logits
    return result[..., :rows].float()


def answers(backbone: Backbone, prompt: str) -> str:
    ids, mask = backbone.encode_texts([prompt])
    out = backbone.model.generate(input_ids=ids, attention_mask=mask, num_beams=4, max_new_tokens=8, do_sample=False)
    text: str = backbone.tokenizer.decode(out[0], skip_special_tokens=True)
    return text


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("Which genre is the movie The Terminator?", "sci-fi"),
        ("Is the following review positive or negative? I loved every minute of this film.", "positive"),
        ("Is the following review positive or negative? This film was a boring waste of time.", "negative"),
        (
            "Premise: A man is eating pizza. Hypothesis: A man is eating food. "
            "Does the premise entail the hypothesis? yes or no?",
            "yes",
        ),
    ],
)
def test_the_offline_checkpoint_answers_without_any_tuning(backbone: Backbone, prompt: str, answer: str) -> None:
    assert answers(backbone, prompt) == answer


def test_the_head_is_its_own_and_the_flag_says_so(backbone: Backbone) -> None:
    assert backbone.head_is_separate
    assert backbone.model.config.tie_word_embeddings is False
    assert backbone.model.config.scale_decoder_outputs is False
    assert backbone.model.encoder.embed_tokens.weight.data_ptr() == backbone.model.shared.weight.data_ptr()
    assert backbone.model.decoder.embed_tokens.weight.data_ptr() == backbone.model.shared.weight.data_ptr()
    assert not backbone.model.training


@pytest.mark.parametrize("size", [32128, 32200, 32100])
def test_logits_survive_a_resize(backbone: Backbone, fresh: Backbone, size: int) -> None:
    fresh.resize_vocabulary(size)
    rows = min(size, 32128)
    assert fresh.model.lm_head.weight.shape == fresh.model.shared.weight.shape == (size, 512)
    torch.testing.assert_close(logits(fresh, rows), logits(backbone, rows), atol=1e-4, rtol=0)


def test_logits_survive_tying_saving_and_loading(backbone: Backbone, fresh: Backbone, tmp_path: Path) -> None:
    fresh.resize_vocabulary(32200)
    fresh.model.tie_weights()
    fresh.save(tmp_path / "once")
    Backbone.load(tmp_path / "once", device="cpu").save(tmp_path / "twice")
    again = Backbone.load(tmp_path / "twice", device="cpu")
    assert again.head_is_separate
    torch.testing.assert_close(logits(again), logits(backbone), atol=1e-4, rtol=0)
    assert again.tokenizer("The Terminator")["input_ids"] == backbone.tokenizer("The Terminator")["input_ids"]


def test_plain_transformers_reads_a_saved_backbone_the_same_way(backbone: Backbone, saved: Path) -> None:
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(saved).eval()
    ids, mask = backbone.encode_texts(PROMPTS)
    start = torch.tensor([[0, 3, 100], [0, 7, 5]])
    with torch.no_grad():
        theirs = model(input_ids=ids, attention_mask=mask, decoder_input_ids=start).logits
    torch.testing.assert_close(theirs, logits(backbone), atol=1e-4, rtol=0)


def test_a_saved_backbone_says_nothing_of_the_machine_that_made_it(saved: Path) -> None:
    for path in saved.rglob("*.json"):
        assert str(Path.home()) not in path.read_text(encoding="utf-8")
        assert str(saved.parent) not in path.read_text(encoding="utf-8")


def test_a_checkpoint_with_one_shared_table_stays_tied(folder: Path, tmp_path: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    write_manifest(folder, {"kind": "backbone"})
    tied = Backbone.load(folder, device="cpu")
    assert not tied.head_is_separate
    assert tied.model.config.scale_decoder_outputs is True  # the original T5 scales, and must go on doing so
    before = logits(tied)
    tied.save(tmp_path / "tied")
    again = Backbone.load(tmp_path / "tied", device="cpu")
    assert not again.head_is_separate
    assert again.model.config.scale_decoder_outputs is True
    torch.testing.assert_close(logits(again), before, atol=1e-4, rtol=0)


def test_bf16_runs_and_stays_close(backbone: Backbone) -> None:
    half = load_backbone("offline", device="cpu", precision="bf16")
    assert half.model.lm_head.weight.dtype == half.dtype == torch.bfloat16
    assert (logits(half).softmax(-1) - logits(backbone).softmax(-1)).abs().max() < 0.1


@pytest.mark.parametrize("precision", ["fp16", "float16", "int3"])
def test_other_precisions_are_refused(precision: str) -> None:
    with pytest.raises(SettingsError, match=r"bf16"):
        load_backbone("offline", precision=precision)  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(SettingsError, match="device"):
        choose_device(device)


def test_texts_are_padded_to_the_longest_of_the_batch(backbone: Backbone) -> None:
    ids, mask = backbone.encode_texts(["a film", "a much longer film about a robot"])
    assert ids.shape == mask.shape == (2, backbone.token_count("a much longer film about a robot"))
    assert mask.sum(1).tolist() == [backbone.token_count("a film"), ids.shape[1]]
    assert ids[0, mask[0].sum() - 1] == backbone.tokenizer.eos_token_id
    assert backbone.encode_texts([])[0].shape == (0, 0)


def test_a_long_text_is_not_cut_unless_asked_and_never_in_silence(
    backbone: Backbone, caplog: pytest.LogCaptureFixture
) -> None:
    long = "word " * 700
    assert backbone.encode_texts([long])[0].shape[1] == backbone.token_count(long) > 600
    with caplog.at_level(logging.WARNING):
        ids, _ = backbone.encode_texts([long, "short"], max_length=20)
    assert ids.shape == (2, 20)
    assert ids[0, -1] == backbone.tokenizer.eos_token_id
    assert "1 of 2 texts were cut to 20 tokens" in caplog.text


def test_a_damaged_backbone_is_refused_by_file(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as stream:
        stream.truncate(1000)
    with pytest.raises(CheckpointError, match=r"model\.safetensors has 1000 bytes"):
        Backbone.load(folder)
    with pytest.raises(CheckpointError, match=r"model\.safetensors has 1000 bytes"):
        load_backbone(folder)
    write_manifest(folder, {"kind": "backbone"})  # sealed in its damaged state: the reader itself must notice
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged or cut short"):
        load_backbone(folder)


def test_missing_tensors_are_never_made_up(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["decoder.block.3.layer.1.EncDecAttention.q.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_manifest(folder, {"kind": "backbone"})
    with pytest.raises(CheckpointError, match=r"lack 1 tensors, such as decoder\.block\.3\.layer\.1"):
        load_backbone(folder)


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (folder / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="pickle files are never loaded"):
        load_backbone(folder)


def test_another_architecture_is_refused(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    (folder / "config.json").write_text('{"model_type": "bart"}')
    with pytest.raises(CheckpointError, match="'bart' model; flanrec reads the T5 family"):
        load_backbone(folder)


def test_a_tokenizer_of_another_model_is_refused(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"tokenizer in .* cannot be loaded"):
        load_backbone(folder)


def test_a_folder_without_manifest_is_a_checkpoint_but_not_a_saved_backbone(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    assert load_backbone(folder).source.kind == "folder"
    with pytest.raises(CheckpointError, match=r"no manifest\.json"):
        Backbone.load(folder)


@pytest.mark.parametrize("family", ["mt5", "umt5"])
def test_the_multilingual_families_load_with_their_own_heads(family: str, backbone: Backbone, tmp_path: Path) -> None:
    import transformers

    config_class, model_class = {
        "mt5": (transformers.MT5Config, transformers.MT5ForConditionalGeneration),
        "umt5": (transformers.UMT5Config, transformers.UMT5ForConditionalGeneration),
    }[family]
    model = model_class(config_class(vocab_size=32128, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2))
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    head = torch.randn(32128, 16, generator=torch.Generator().manual_seed(1))
    save_file(weights | {"lm_head.weight": head}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    backbone.tokenizer.save_pretrained(tmp_path)
    loaded = load_backbone(tmp_path, device="cpu")
    assert type(loaded.model) is model_class
    loaded.resize_vocabulary(32200)
    loaded.resize_vocabulary(32128)
    loaded.model.tie_weights()
    torch.testing.assert_close(loaded.model.lm_head.weight.detach(), head)
    assert not torch.equal(loaded.model.shared.weight, head)
    before = logits(loaded)
    loaded.save(tmp_path / "again")
    torch.testing.assert_close(logits(Backbone.load(tmp_path / "again", device="cpu")), before)
