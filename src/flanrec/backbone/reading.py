"""Read a model and its tokenizer from a checkpoint folder, with the model's own head intact.

transformers 5 forces ``tie_word_embeddings=True`` on T5 configurations. A head of its own survives
the loading, but the next resize or `tie_weights` call would replace it by the embeddings without a
word. So the flag is set, as soon as the weights are loaded, to what the weights themselves say.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import (
    AutoTokenizer,
    MT5ForConditionalGeneration,
    PreTrainedTokenizerFast,
    T5ForConditionalGeneration,
    UMT5ForConditionalGeneration,
)
from transformers.activations import GELUTanh, NewGELUActivation
from transformers.utils import logging as transformers_logging

from flanrec.backbone.dropout import Dropout
from flanrec.errors import CheckpointError

_FAMILY: Final[dict[str, Any]] = {
    "t5": T5ForConditionalGeneration,
    "mt5": MT5ForConditionalGeneration,
    "umt5": UMT5ForConditionalGeneration,
}


def load_model(folder: Path, dtype: torch.dtype) -> T5ForConditionalGeneration:
    """Load the weights of a folder; ``config.tie_word_embeddings`` then tells the truth.

    Raises
    ------
    CheckpointError
        Not a T5-family model, no safetensors, damaged or missing weights.
    """
    model_class = _model_class(folder)
    heads = _stored_heads(folder)
    with quiet():
        try:
            model, report = model_class.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as problem:
            raise CheckpointError(f"The weights in {folder} cannot be loaded: {problem}") from problem
    lost = sorted(report["missing_keys"])
    if lost:
        raise CheckpointError(f"The weights in {folder} lack {len(lost)} tensors, such as {lost[0]}.")
    # The flag also ties the encoder's and decoder's embeddings to the shared table while loading, so
    # it is right only from here on. A head that is a copy of the embeddings has been tied: one table.
    model.config.tie_word_embeddings = model.lm_head.weight.data_ptr() == model.shared.weight.data_ptr()
    for rows in heads:
        if not torch.equal(model.lm_head.weight[: len(rows)].detach(), rows.to(dtype)):
            raise CheckpointError(f"The head stored in {folder} was replaced while loading; this is a defect.")
    _use_faster_layers(model)
    return model


def _use_faster_layers(model: torch.nn.Module) -> None:
    """Let T5's GELU be one kernel instead of eight, and its dropout draw cheap noise: the same up to rounding."""
    for module in list(model.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, NewGELUActivation):
                setattr(module, name, GELUTanh())
            elif type(layer) is torch.nn.Dropout:
                setattr(module, name, Dropout(layer.p))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back transformers' progress bars and warnings while a checkpoint is read or written.

    That takes a second, and the warning about the tied flag is what this module deals with.
    """
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _model_class(folder: Path) -> Any:
    path = folder / "config.json"
    try:
        kind = json.loads(path.read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise CheckpointError(f"{path} is missing or is not a model configuration.") from problem
    if kind not in _FAMILY:
        raise CheckpointError(
            f"{folder} is a {kind!r} model; flanrec reads the T5 family: {', '.join(_FAMILY)} (Flan-T5 is a t5)."
        )
    return _FAMILY[kind]


def _stored_heads(folder: Path) -> list[Tensor]:
    """Return the first rows of the head stored in the weight files, to compare with what was loaded."""
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise CheckpointError(
            f"{folder} has no model*.safetensors. Weights in pickle files are never loaded; convert them once with "
            "transformers' save_pretrained, or choose a revision of the repository that has safetensors."
        )
    heads: list[Tensor] = []
    for path in files:
        try:
            with safe_open(path, framework="pt") as tensors:
                if "lm_head.weight" in tensors.keys():  # noqa: SIM118 - not a dictionary
                    heads.append(tensors.get_slice("lm_head.weight")[:16])
        except (SafetensorError, OSError) as problem:
            raise CheckpointError(f"{path} is damaged or cut short ({problem}). Fetch it again.") from problem
    return heads


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Load the tokenizer of a folder, from ``tokenizer.json`` where there is one.

    Raises
    ------
    CheckpointError
        It is missing or damaged, or lacks the end, padding or unknown token.
    """
    kind = PreTrainedTokenizerFast if (folder / "tokenizer.json").is_file() else AutoTokenizer
    try:
        tokenizer = kind.from_pretrained(folder, trust_remote_code=False)
    except Exception as problem:  # the tokenizers library raises bare Exception on a damaged file
        raise CheckpointError(f"The tokenizer in {folder} cannot be loaded: {problem}") from problem
    for role in ("eos", "pad", "unk"):
        if getattr(tokenizer, f"{role}_token_id") is None:
            raise CheckpointError(f"The tokenizer in {folder} has no {role} token; a T5 tokenizer has all three.")
    return tokenizer


def record_scaling(path: Path, scaled: bool) -> None:
    """Write into a saved ``config.json`` whether the decoder's output is scaled before the head.

    T5Config reads ``tie_word_embeddings`` as just that; whether the head is tied the weights say.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    content["tie_word_embeddings"] = scaled
    content.pop("scale_decoder_outputs", None)
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
