"""The conversion of the wheel: complete, checked, made once, and made again when damaged."""

from __future__ import annotations

import json
import logging
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from flanrec.artefact import verify_manifest
from flanrec.backbone import offline
from flanrec.errors import CheckpointError


@pytest.fixture(scope="module")
def package() -> dict[str, bytes]:
    return offline.read_package()


def test_the_checkpoint_has_all_tensors_in_the_shapes_of_flan_t5_small() -> None:
    folder = offline.offline_checkpoint()
    assert verify_manifest(folder)["licence"] == "MIT"
    weights = load_file(folder / "model.safetensors")
    # 8 * (4 + 1 + 3 + 1) encoder and 8 * (8 + 2 + 3 + 1) decoder tensors, 2 final norms, 2 biases, 2 tables
    assert len(weights) == 8 * 9 + 8 * 14 + 6
    assert weights["shared.weight"].shape == weights["lm_head.weight"].shape == (32128, 512)
    assert weights["encoder.block.7.layer.0.SelfAttention.q.weight"].shape == (384, 512)
    assert weights["decoder.block.0.layer.1.EncDecAttention.o.weight"].shape == (512, 384)
    assert weights["decoder.block.7.layer.2.DenseReluDense.wo.weight"].shape == (512, 1024)
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in weights.values())
    assert sum(array.size for array in weights.values()) == 76_961_152  # the published size of flan-t5-small


def test_the_tokenizer_no_longer_cuts_texts_at_48_tokens(package: dict[str, bytes]) -> None:
    assert json.loads(package["tokenizer.json"])["truncation"]["max_length"] == 48
    written = json.loads((offline.offline_checkpoint() / "tokenizer.json").read_text(encoding="utf-8"))
    assert written["truncation"] is written["padding"] is None


def test_a_damaged_conversion_is_noticed_and_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, package: dict[str, bytes]
) -> None:
    original = offline.offline_checkpoint()
    monkeypatch.setenv("FLANREC_CACHE", str(tmp_path))
    assert offline.offline_folder().is_relative_to(tmp_path)
    offline.convert(package, offline.offline_folder())
    files = json.loads((original / "manifest.json").read_text())["files"]
    assert json.loads((offline.offline_folder() / "manifest.json").read_text())["files"] == files  # same every time
    with (offline.offline_folder() / "model.safetensors").open("r+b") as stream:
        stream.truncate(1000)
    _keep_wheel(tmp_path, package)
    with caplog.at_level(logging.WARNING):
        assert offline.offline_checkpoint() == offline.offline_folder()
    assert "making the offline checkpoint again" in caplog.text
    assert json.loads((offline.offline_folder() / "manifest.json").read_text())["files"] == files
    (offline.offline_folder() / "model.safetensors").unlink()


def test_an_installed_package_is_read_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: dict[str, bytes]
) -> None:
    data = tmp_path / "site" / "traceforge_title_model" / "data" / "span"
    data.mkdir(parents=True)
    for name, content in package.items():
        (data / name).write_bytes(content)
    (tmp_path / "site" / "traceforge_title_model" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("FLANREC_CACHE", str(tmp_path / "empty"))
    assert offline.how_available() == "installed"
    assert offline.read_package() == package
    assert not (tmp_path / "empty").exists()


def test_a_wheel_with_other_content_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: dict[str, bytes]
) -> None:
    monkeypatch.setenv("FLANREC_CACHE", str(tmp_path))
    monkeypatch.setattr(offline, "_installed_files", lambda: None)
    _keep_wheel(tmp_path, package | {"tokenizer.json": b"{}"})
    with pytest.raises(CheckpointError, match=r"tokenizer\.json in .* is not the file of traceforge-title-model"):
        offline.read_package()
    (tmp_path / "wheels" / "traceforge_title_model-0.2.0-py3-none-any.whl").write_bytes(b"no archive")
    with pytest.raises(CheckpointError, match="cannot be read"):
        offline.read_package()


def test_a_failed_download_says_what_pip_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLANREC_CACHE", str(tmp_path))
    monkeypatch.setattr(offline, "_installed_files", lambda: None)
    monkeypatch.setattr(offline, "VERSION", "0.0.0.dev404")
    with pytest.raises(CheckpointError, match=r"could not be downloaded: ERROR: No matching distribution"):
        offline.read_package()
    assert list((tmp_path / "wheels").iterdir()) == []


def _keep_wheel(cache: Path, files: dict[str, bytes]) -> None:
    (cache / "wheels").mkdir(exist_ok=True)
    with zipfile.ZipFile(cache / "wheels" / "traceforge_title_model-0.2.0-py3-none-any.whl", "w") as archive:
        for name, content in files.items():
            archive.writestr(f"traceforge_title_model/data/span/{name}", content)
