"""``flanrec doctor`` tells what is there and changes nothing."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from flanrec.backbone import offline
from flanrec.cli.doctor import doctor

app = typer.Typer()
app.command()(doctor)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, object]]:
    offline.offline_checkpoint()
    monkeypatch.setenv("FLANREC_OFFLINE", "1")
    result = CliRunner().invoke(app, ["--json"])
    assert result.exit_code == 0
    parsed: dict[str, dict[str, object]] = json.loads(result.stdout)
    return parsed


def test_it_tells_versions_device_formats_threads_and_sources(report: dict[str, dict[str, object]]) -> None:
    assert report["packages"]["torch"] == torch.__version__
    assert report["compute"]["threads"] == torch.get_num_threads()
    assert report["compute"]["device"] in {"cpu", "mps"} or str(report["compute"]["device"]).startswith("cuda")
    formats = report["compute"]["dtypes"]
    assert isinstance(formats, dict)
    assert str(formats["bf16"]).startswith(("works", "not"))
    assert formats["fp16"] == "refused: T5 overflows in it"
    assert report["checkpoint"]["hub"] == "not asked (offline by environment)"
    assert report["checkpoint"]["offline_wheel"] == "traceforge-title-model 0.2.0: converted"
    assert report["problems"] == []


def test_it_downloads_and_writes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLANREC_OFFLINE", "1")
    monkeypatch.setenv("FLANREC_CACHE", str(tmp_path / "cache"))
    result = CliRunner().invoke(app, ["--json"])
    found = importlib.util.find_spec("traceforge_title_model") is not None  # by the extra `offline`
    ending = "installed" if found else "to be downloaded with pip"
    assert json.loads(result.stdout)["checkpoint"]["offline_wheel"].endswith(ending)
    assert not (tmp_path / "cache").exists()


def test_the_table_names_the_checkpoint_that_would_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLANREC_OFFLINE", "1")
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [])
    assert result.exit_code == 0
    assert "would use" in result.stdout
    assert "flan-t5-small" in result.stdout
