"""Back-translation: texts in other words, by way of another language and back, with models that are here already."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from flanrec.backbone.hardware import choose_device
from flanrec.backbone.reading import quiet
from flanrec.errors import CheckpointError, SettingsError
from flanrec.instructions.text import sanitise

logger = logging.getLogger(__name__)


def back_translated(
    texts: Sequence[str],
    there: Path,
    back: Path,
    *,
    prefixes: tuple[str, str] = ("", ""),
    device: str = "auto",
    batch_size: int = 16,
    num_beams: int = 4,
) -> list[str]:
    """Translate texts into another language and back.

    Parameters
    ----------
    texts
        In the language that the first model reads.
    there, back
        Folders of sequence-to-sequence models of transformers (Marian, M2M, T5 and others) with safetensors; they may
        be one. Nothing is fetched, and no code of a folder is run.
    prefixes
        What each model is told before every text, such as ``"translate English to German: "`` for a T5.
    num_beams
        Of both beam searches.

    Returns
    -------
    list of str
        One a text, cleaned as texts from outside are; "" where nothing readable came back.

    Raises
    ------
    CheckpointError
        A folder is missing, has no safetensors, or holds no such model.

    References
    ----------
    Sennrich, Haddow and Birch, "Improving neural machine translation models with monolingual data", 2016; for
    paraphrases: Mallinson, Sennrich and Lapata, "Paraphrasing revisited with neural machine translation", 2017.
    """
    if batch_size < 1 or num_beams < 1:
        raise SettingsError(f"batch_size is {batch_size} and num_beams {num_beams}; both must be at least 1")
    found = list(texts)
    for folder, prefix in zip((there, back), prefixes, strict=True):
        found = _translated(found, folder, prefix, device, batch_size, num_beams)
    return found


def _translated(texts: list[str], folder: Path, prefix: str, device: str, batch_size: int, num_beams: int) -> list[str]:
    model, tokenizer = _load(folder)
    place = choose_device(device)
    model = model.to(place).eval()
    found: list[str] = []
    for first in range(0, len(texts), batch_size):
        part = [prefix + text for text in texts[first : first + batch_size]]
        tokens = tokenizer(part, return_tensors="pt", padding=True, truncation=True, max_length=512).to(place)
        longest = 2 * int(tokens["input_ids"].shape[1]) + 10
        with torch.inference_mode(), quiet():
            said = model.generate(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], num_beams=num_beams,
                do_sample=False, max_new_tokens=longest, max_length=None, no_repeat_ngram_size=4,
            )  # fmt: skip
        found += [sanitise(text) for text in tokenizer.batch_decode(said, skip_special_tokens=True)]
    return found


def _load(folder: Path) -> tuple[Any, Any]:
    if not folder.is_dir():
        raise CheckpointError(f"There is no folder {folder}. Back-translation takes models that are here already.")
    if not any(folder.glob("model*.safetensors")):
        raise CheckpointError(
            f"{folder} has no model*.safetensors. Weights in pickle files are never loaded; convert them once with "
            "transformers' save_pretrained."
        )
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    try:
        with quiet():
            model = AutoModelForSeq2SeqLM.from_pretrained(folder, use_safetensors=True, **options)
            return model, AutoTokenizer.from_pretrained(folder, **options)
    except Exception as problem:  # transformers and tokenizers raise all kinds, bare Exception among them
        raise CheckpointError(f"{folder} holds no model that translates: {problem}") from problem
