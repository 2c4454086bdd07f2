"""The backbone: a T5-family model in use, with its tokenizer and its origin; loaded and saved whole."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

from flanrec.artefact import MANIFEST, saving, verify_manifest
from flanrec.backbone.attachments import ATTACHMENT, attached, detached, load_attachment, save_attachment
from flanrec.backbone.hardware import Precision, choose_device, choose_dtype
from flanrec.backbone.reading import load_model, load_tokenizer, quiet, record_scaling
from flanrec.backbone.sources import CheckpointSource, resolve
from flanrec.errors import CheckpointError, SettingsError

logger = logging.getLogger(__name__)


@dataclass
class Backbone:
    """A checkpoint ready for use: the model in evaluation mode, its tokenizer, and where both came from.

    ``model`` is a T5, mT5 or umT5 of transformers (all three share one interface), with whatever
    `flanrec.backbone.adapters.add_adapter` has put into it.
    """

    model: T5ForConditionalGeneration
    tokenizer: PreTrainedTokenizerFast
    source: CheckpointSource
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "auto", precision: Precision = "auto") -> Backbone:
        """Load a folder written by `save`; its manifest must agree.

        Raises
        ------
        CheckpointError
            The folder is missing, unfinished or damaged; the message names the file.
        """
        about = verify_manifest(folder)
        if about.get("kind") != "backbone":
            raise CheckpointError(f"{folder} holds a {about.get('kind', 'folder')!s}, not a backbone.")
        return load_backbone(Path(folder), device=device, precision=precision)

    def save(self, folder: Path | str) -> None:
        """Write the weights as safetensors, configuration, tokenizer and manifest; all or nothing.

        A soft prompt, a prefix or bottlenecks that the model carries are written beside its plain weights.

        Raises
        ------
        CheckpointError
            `folder` has files of somebody else.
        SettingsError
            The model still carries an adapter that can be merged: merge it, or save the adapter by itself.
        """
        if hasattr(self.model, "peft_config"):
            raise SettingsError("The backbone carries an adapter. Call merge(), or save_adapter(), instead of save().")
        about = {"kind": "backbone", "source": self.source.name, "revision": self.source.revision}
        with saving(folder, about) as draft:
            with quiet(), detached(self.model) as plain:
                plain.save_pretrained(draft)
            if attached(self.model) is not None:
                save_attachment(self.model, draft)
            self.tokenizer.save_pretrained(draft)
            record_scaling(draft / "config.json", bool(getattr(self.model.config, "scale_decoder_outputs", False)))

    def encode_texts(self, texts: Sequence[str], max_length: int | None = None) -> tuple[Tensor, Tensor]:
        """Tokenise texts, each ended by ``</s>``, padded to the longest of this batch.

        Control tokens written in a text are read as such: clean text from outside before it comes here.

        Parameters
        ----------
        texts
            Any number of texts.
        max_length
            Longest row in tokens. Longer texts lose their end, and a warning counts them.

        Returns
        -------
        input_ids, attention_mask
            int64 [len(texts), longest] on the backbone's device; [0, 0] for no texts.
        """
        ids, mask = self.tokenise(texts, max_length)
        return ids.to(self.device), mask.to(self.device)

    def tokenise(self, texts: Sequence[str], max_length: int | None = None) -> tuple[Tensor, Tensor]:
        """As `encode_texts`, in main memory, without touching the device."""
        if not texts:
            empty = torch.zeros((0, 0), dtype=torch.long)
            return empty, empty.clone()
        # Measured first and cut by hand, so that a cut is counted and never happens in silence.
        rows: list[list[int]] = self.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        if max_length is not None:
            cut = sum(len(row) > max_length for row in rows)
            if cut:
                logger.warning("%d of %d texts were cut to %d tokens", cut, len(rows), max_length)
                end = self.tokenizer.eos_token_id
                rows = [row if len(row) <= max_length else [*row[: max_length - 1], end] for row in rows]
        return self.side_by_side(rows)

    def side_by_side(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Rows of tokens, at least one, as `encode_texts` returns them, in main memory."""
        longest = max(len(row) for row in rows)
        ids = torch.full((len(rows), longest), self.tokenizer.pad_token_id, dtype=torch.long)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = torch.tensor(row, dtype=torch.long)
            mask[at, : len(row)] = 1
        return ids, mask

    def token_count(self, text: str) -> int:
        """Count the tokens of a text, the end token ``</s>`` included."""
        return len(self.tokenizer(text, truncation=False, verbose=False)["input_ids"])

    def weights_digest(self) -> str:
        """Return a SHA-256 of all weights, rounded to bf16: what was made from others differs."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.model.state_dict().items()):
            rounded = weight.detach().to("cpu", torch.bfloat16).contiguous()
            digest.update(name.encode() + rounded.view(torch.int16).numpy().tobytes())
        return digest.hexdigest()

    @property
    def head_is_separate(self) -> bool:
        """Whether the output head has weights of its own rather than the input embeddings."""
        head, embeddings = self.model.get_output_embeddings(), self.model.get_input_embeddings()
        return bool(head.weight.data_ptr() != embeddings.weight.data_ptr())

    def resize_vocabulary(self, size: int) -> None:
        """Give embeddings and head `size` rows each; rows that were there keep their values.

        Raises
        ------
        SettingsError
            `size` is below the tokenizer's number of tokens.
        """
        if size < len(self.tokenizer):
            raise SettingsError(f"The tokenizer has {len(self.tokenizer)} tokens; a vocabulary of {size} is too small.")
        separate = self.head_is_separate
        self.model.resize_token_embeddings(size)
        if separate and not self.head_is_separate:
            raise CheckpointError("The resize replaced the model's own head by its embeddings; this is a defect.")


def load_backbone(
    name: str | Path | None = None,
    *,
    revision: str | None = None,
    device: str = "auto",
    offline: bool | None = None,
    precision: Precision = "auto",
) -> Backbone:
    """Load a T5-family checkpoint by folder, hub id or ``"offline"``.

    Parameters
    ----------
    name, revision, offline
        See `flanrec.backbone.sources.resolve`. The log says which source was used.
    device
        ``auto`` (CUDA, then Apple's MPS, then CPU) or a torch device.
    precision
        ``fp32`` or ``bf16``. ``auto`` is fp32: tuning loses small steps in bf16 weights, and small
        models gain little from it; choose bf16 to fit a large checkpoint.

    Raises
    ------
    CheckpointError
        The checkpoint cannot be had, is damaged or incomplete, is not of the T5 family, or has no
        safetensors weights.
    SettingsError
        fp16 (T5 overflows in it), or a device that is not there.
    """
    dtype = choose_dtype(precision)
    place = choose_device(device)
    source = resolve(name, revision=revision, offline=offline)
    if source.kind == "folder" and (source.path / MANIFEST).exists():
        verify_manifest(source.path)
    model = load_model(source.path, dtype)
    if (source.path / ATTACHMENT).is_file():
        load_attachment(model, source.path)
    tokenizer = load_tokenizer(source.path)
    if len(tokenizer) > model.config.vocab_size:
        raise CheckpointError(
            f"The tokenizer in {source.path} has {len(tokenizer)} tokens and the model {model.config.vocab_size}: "
            "they do not belong together."
        )
    model.to(place).eval()
    logger.info(
        "backbone %s from %s%s on %s in %s", source.name, source.kind,
        f" at {source.revision}" if source.revision else "", place, str(dtype).removeprefix("torch."),
    )  # fmt: skip
    return Backbone(model, tokenizer, source, place, dtype)
