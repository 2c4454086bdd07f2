"""A backbone as ONNX graphs (extra ``export``), for runtimes elsewhere: the encoder, and the decoder with its head.

flanrec itself does not run on them: without a cache of keys and values a decoder reads every beginning again. They
are opened once, by onnxruntime, to compare what they say with the model.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flanrec.backbone import Backbone
from flanrec.backbone.reading import load_tokenizer
from flanrec.errors import SettingsError
from flanrec.generation.engines.base import Floats, Rows

KIND = "onnx"
_OPSET = 18


def write(backbone: Backbone, folder: Path) -> OnnxScorer:
    """Write ``encoder.onnx``, ``decoder.onnx`` and the tokenizer, and open them; :func:`export_backbone` seals them.

    The encoder takes ``input_ids`` and ``attention_mask``, int64 [batch, source], and gives ``states`` [batch, source,
    d_model]. The decoder takes ``decoder_input_ids`` int64 [batch, target], ``states`` and ``attention_mask``, and
    gives ``logits`` [batch, target, vocabulary].

    Parameters
    ----------
    backbone : Backbone
        In float32 on a CPU, without an adapter.
    folder : path

    Raises
    ------
    SettingsError
        The extra is not installed.
    """
    _library()
    ids, mask = backbone.encode_texts(["Which movie comes next?", "Yes?"])
    with torch.no_grad():
        encoder = _Encoder(backbone.model).eval()
        states = encoder(ids, mask)
        _write(encoder, (ids, mask), folder / "encoder.onnx", ["input_ids", "attention_mask"], "states")
        said = torch.zeros(2, 4, dtype=torch.long)
        names = ["decoder_input_ids", "states", "attention_mask"]
        _write(_Decoder(backbone.model).eval(), (said, states, mask), folder / "decoder.onnx", names, "logits")
    backbone.tokenizer.save_pretrained(folder / "tokenizer")
    return OnnxScorer(folder)


class OnnxScorer:
    """Scores titles by the two graphs, one (prompt, title) pair after the other.

    Parameters
    ----------
    folder : path
        That `write` wrote.
    """

    name = KIND

    def __init__(self, folder: Path) -> None:
        library = _library()
        self.tokenizer: Any = load_tokenizer(folder / "tokenizer")
        self._encoder, self._decoder = (
            library.InferenceSession(str(folder / f"{part}.onnx"), providers=["CPUExecutionProvider"])
            for part in ("encoder", "decoder")
        )

    def title_log_probabilities(self, prompts: Sequence[str], token_rows: Rows) -> Floats:
        """The log-probability of every title for every prompt: float32 [n_prompts, n_titles]."""
        scores = np.empty((len(prompts), len(token_rows)), dtype=np.float32)
        for user, row in enumerate(self.tokenizer(list(prompts))["input_ids"]):
            read = {"input_ids": np.array([row]), "attention_mask": np.ones((1, len(row)), dtype=np.int64)}
            (states,) = self._encoder.run(None, read)
            for item, title in enumerate(token_rows):
                begun = np.array([[0, *title[:-1]]], dtype=np.int64)
                told = {"decoder_input_ids": begun, "states": states, "attention_mask": read["attention_mask"]}
                (logits,) = self._decoder.run(None, told)
                logs = torch.from_numpy(logits[0]).double().log_softmax(dim=-1)
                scores[user, item] = float(logs[torch.arange(len(title)), torch.tensor(list(title))].sum())
        return scores


class _Encoder(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model.get_encoder()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        states: Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return states


class _Decoder(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, decoder_input_ids: Tensor, states: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(
            decoder_input_ids=decoder_input_ids, encoder_outputs=(states,), attention_mask=attention_mask,
            use_cache=False,
        ).logits  # fmt: skip
        return logits


def _write(module: nn.Module, inputs: tuple[Tensor, ...], path: Path, names: list[str], output: str) -> None:
    """Export one graph whose first two dimensions may have any size, batches and source lengths alike everywhere."""
    batch, source, target = (torch.export.Dim(name, min=1, max=4096) for name in ("batch", "source", "target"))
    lengths = {"decoder_input_ids": target}
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    try:
        with warnings.catch_warnings():
            # It tells of every package that it could do without, and of names that stand for one size.
            warnings.simplefilter("ignore")
            exporter.setLevel(logging.ERROR)
            torch.onnx.export(
                module, inputs, str(path), input_names=names, output_names=[output], opset_version=_OPSET,
                dynamo=True, external_data=False, verbose=False,
                dynamic_shapes=tuple({0: batch, 1: lengths.get(name, source)} for name in names),
            )  # fmt: skip
    finally:
        exporter.setLevel(level)


def _library() -> Any:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as problem:
        raise SettingsError("the ONNX exporter is not installed; pip install 'flanrec[export]'") from problem
    return onnxruntime
