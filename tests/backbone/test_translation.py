"""Back-translation by a real model: the offline Flan-T5 speaks German, though not well."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from flanrec.backbone import Backbone, translation
from flanrec.backbone.offline import offline_checkpoint
from flanrec.backbone.translation import back_translated
from flanrec.errors import CheckpointError, SettingsError

PREFIXES = ("translate English to German: ", "translate German to English: ")
TEXTS = ["Name the movie.", "The house is small."]


def generated(backbone: Backbone, text: str) -> str:
    """Greedy, one text by itself."""
    ids, mask = backbone.encode_texts([text])
    said = backbone.model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=40, do_sample=False, no_repeat_ngram_size=4
    )
    found: str = backbone.tokenizer.decode(said[0], skip_special_tokens=True)
    return found.strip()


def test_each_text_goes_through_both_models_in_turn(backbone: Backbone) -> None:
    folder = offline_checkpoint()
    found = back_translated(TEXTS, folder, folder, prefixes=PREFIXES, device="cpu", num_beams=1)
    german = [generated(backbone, PREFIXES[0] + text) for text in TEXTS]
    assert "Haus" in german[1]
    assert found == [generated(backbone, PREFIXES[1] + text) for text in german]
    assert back_translated([], folder, folder, device="cpu") == []


def test_what_is_not_here_or_not_safe_is_refused(tmp_path: Path) -> None:
    folder = offline_checkpoint()
    with pytest.raises(CheckpointError, match="There is no folder"):
        back_translated(TEXTS, tmp_path / "gone", folder)
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(CheckpointError, match="Weights in pickle files are never loaded"):
        back_translated(TEXTS, tmp_path, folder)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="holds no model that translates"):
        back_translated(TEXTS, tmp_path, folder)
    with pytest.raises(SettingsError, match="num_beams 0"):
        back_translated(TEXTS, folder, folder, num_beams=0)


def test_what_is_cut_is_counted_and_the_log_tells_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = offline_checkpoint()
    monkeypatch.setattr(translation, "_LONGEST", 8)
    monkeypatch.setattr(translation, "_EVERY", 0.0)
    with caplog.at_level(logging.INFO, "flanrec"):
        found = back_translated(["Yes.", "one two three four five six seven eight"], folder, folder, device="cpu",
                                num_beams=1, batch_size=1)  # fmt: skip
    assert len(found) == 2
    assert f"1 of 2 texts were cut to 8 tokens before {folder} reads them" in caplog.messages
    assert f"back-translation: 1 of 2 texts by {folder}" in caplog.messages
