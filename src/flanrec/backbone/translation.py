"""Back-translation: texts in other words, by way of another language and back, with models that are here already."""

from __future__ import annotations

import logging
import time
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

_LONGEST = 512
"""Tokens of a text that are read; most such models know no places beyond."""
_EVERY = 10.0
"""Seconds between log lines."""


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
    """Translate texts into another language and back; the log tells every ten seconds how far it is.

    Parameters
    ----------
    texts
        In the language that the first model reads. Of more than 512 tokens they lose their end, and a warning counts
        them.
    there, back
        Folders of sequence-to-sequence models of transformers with safetensors; they may be one. Each must translate
        between two languages of its own, as Marian's do, or be told by its prefix, as T5 is. Nothing is fetched, and no
        code of a folder is run.
    prefixes
        What each model is told before every text, such as ``"translate English to German: "`` for a T5.
    device
        Where they run: ``auto``, ``cpu``, ``cuda``, or a name that torch knows.
    batch_size
        Texts that are translated at once.
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
    SettingsError
        `batch_size` or `num_beams` is below 1, or the device is not there.

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
    asked = [prefix + text for text in texts]
    cut = sum(len(row) > _LONGEST for row in tokenizer(asked, verbose=False)["input_ids"]) if asked else 0
    if cut:
        logger.warning("%d of %d texts were cut to %d tokens before %s reads them", cut, len(asked), _LONGEST, folder)
    found: list[str] = []
    told = time.monotonic()
    for first in range(0, len(asked), batch_size):
        part = asked[first : first + batch_size]
        tokens = tokenizer(part, return_tensors="pt", padding=True, truncation=True, max_length=_LONGEST).to(place)
        longest = 2 * int(tokens["input_ids"].shape[1]) + 10
        with torch.inference_mode(), quiet():
            said = model.generate(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], num_beams=num_beams,
                do_sample=False, max_new_tokens=longest, max_length=None, no_repeat_ngram_size=4,
            )  # fmt: skip
        found += [sanitise(text) for text in tokenizer.batch_decode(said, skip_special_tokens=True)]
        if time.monotonic() - told >= _EVERY:
            logger.info("back-translation: %d of %d texts by %s", len(found), len(asked), folder)
            told = time.monotonic()
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
