"""Folders are whole or refused by name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flanrec.artefact import MANIFEST, cache_dir, saving, verify_manifest, write_manifest, write_text_atomically
from flanrec.errors import CheckpointError


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "part").mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(b"\x01" * 1000)
    (folder / "part" / "settings.json").write_text('{"rate": 1}')
    write_manifest(folder, {"kind": "example"})
    return folder


def test_a_sealed_folder_is_accepted_and_says_what_it_is(sealed: Path) -> None:
    assert verify_manifest(sealed) == {"kind": "example"}
    files = json.loads((sealed / MANIFEST).read_text())["files"]
    assert set(files) == {"weights.safetensors", "part/settings.json"}
    # sha256 of a thousand bytes 0x01, by coreutils' sha256sum
    assert files["weights.safetensors"] == {
        "size": 1000,
        "sha256": "353c38352a855c80f4ecb0793a76493228541b5fab5ef7af26effac91e77ec46",
    }


def test_one_changed_byte_is_found_and_the_file_named(sealed: Path) -> None:
    (sealed / "weights.safetensors").write_bytes(b"\x01" * 999 + b"\x02")
    with pytest.raises(CheckpointError, match=r"weights\.safetensors does not have the content"):
        verify_manifest(sealed)
    assert verify_manifest(sealed, content=False) == {"kind": "example"}


def test_a_truncated_file_is_found_without_reading_it(sealed: Path) -> None:
    (sealed / "weights.safetensors").write_bytes(b"\x01" * 10)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors has 10 bytes where manifest\.json says 1000"):
        verify_manifest(sealed, content=False)


def test_a_missing_file_is_named(sealed: Path) -> None:
    (sealed / "part" / "settings.json").unlink()
    with pytest.raises(CheckpointError, match=r"settings\.json is missing"):
        verify_manifest(sealed)


def test_a_file_that_a_loader_would_pick_up_is_refused_when_it_was_added_later(sealed: Path) -> None:
    (sealed / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"adapter_config\.json is not listed"):
        verify_manifest(sealed)


def test_notes_results_and_hidden_files_beside_a_model_do_no_harm(sealed: Path) -> None:
    (sealed / "README.md").write_text("mine")
    (sealed / "recommendations.csv").write_text("user_id,item_id\n")
    (sealed / ".DS_Store").write_bytes(b"\x00")
    assert verify_manifest(sealed) == {"kind": "example"}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1, "about": {}, "files": {"a": 3}}', "\x00\x01"])
def test_a_damaged_manifest_is_refused(sealed: Path, content: str) -> None:
    (sealed / MANIFEST).write_text(content)
    with pytest.raises(CheckpointError, match=r"manifest\.json is damaged"):
        verify_manifest(sealed)


@pytest.mark.parametrize("name", ["../outside.json", "/etc/passwd", "a/../../b", "..\\outside"])
def test_a_manifest_cannot_point_outside_its_folder(sealed: Path, name: str) -> None:
    body = {"format": 1, "about": {}, "files": {name: {"size": 1, "sha256": ""}}}
    (sealed / MANIFEST).write_text(json.dumps(body))
    with pytest.raises(CheckpointError, match="outside the folder"):
        verify_manifest(sealed)


def test_a_manifest_of_a_later_format_is_refused_with_the_reason(sealed: Path) -> None:
    (sealed / MANIFEST).write_text('{"format": 99, "about": {}, "files": {}}')
    with pytest.raises(CheckpointError, match="format 99"):
        verify_manifest(sealed)


def test_no_folder_and_no_manifest_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no folder"):
        verify_manifest(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"has no manifest\.json"):
        verify_manifest(tmp_path)


def test_nothing_appears_when_saving_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="half way"):
        _fail_half_way(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_save_is_replaced_whole(sealed: Path) -> None:
    with saving(sealed, {"kind": "second"}) as draft:
        (draft / "other.json").write_text("{}")
    assert verify_manifest(sealed) == {"kind": "second"}
    assert sorted(path.name for path in sealed.iterdir()) == [MANIFEST, "other.json"]
    assert [path.name for path in sealed.parent.iterdir()] == ["model"]


def test_an_earlier_save_survives_a_failed_one(sealed: Path) -> None:
    with pytest.raises(RuntimeError, match="half way"):
        _fail_half_way(sealed)
    assert verify_manifest(sealed) == {"kind": "example"}


def test_somebody_elses_files_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="flanrec did not save"), saving(tmp_path):
        pytest.fail("the block must not run")
    with pytest.raises(CheckpointError, match="is a file"), saving(tmp_path / "thesis.txt"):
        pytest.fail("the block must not run")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_kill_in_the_middle_of_a_save_leaves_the_earlier_one(sealed: Path) -> None:
    script = (
        "import sys, time\nfrom flanrec.artefact import saving\n"
        "with saving(sys.argv[1], {'kind': 'second'}) as draft:\n"
        "    (draft / 'weights.safetensors').write_bytes(b'2')\n"
        "    print('writing', flush=True)\n    time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(sealed)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "writing\n"
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=10)
    child.stdout.close()
    assert verify_manifest(sealed) == {"kind": "example"}


@pytest.mark.skipif(sys.platform != "linux", reason="two folders change names in one step on Linux alone")
def test_there_is_a_save_at_every_moment_of_its_replacement(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed: list[tuple[str, str]] = []
    rename = os.rename

    def noted(one: Path, other: Path) -> None:
        rename(one, other)
        renamed.append((str(one), str(other)))

    monkeypatch.setattr(os, "rename", noted)
    with saving(sealed, {"kind": "second"}) as draft:
        (draft / "weights.safetensors").write_bytes(b"2")
    assert verify_manifest(sealed) == {"kind": "second"}
    assert str(sealed) not in [one for one, _ in renamed]  # it never stepped aside
    assert list(sealed.parent.iterdir()) == [sealed]


def test_a_save_is_replaced_where_folders_cannot_change_names(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flanrec.artefact._swapped", lambda *_: False)
    with saving(sealed, {"kind": "second"}):
        pass
    assert verify_manifest(sealed) == {"kind": "second"}
    assert list(sealed.parent.iterdir()) == [sealed]


def test_what_a_kill_left_behind_is_swept_away_a_day_later(sealed: Path) -> None:
    old, running = (sealed.with_name(f".model.{name}.tmp") for name in ("old", "running"))
    for folder in (old, running):
        folder.mkdir()
    os.utime(old, (0, 0))
    with saving(sealed):
        pass
    assert running.is_dir()
    assert not old.exists()


def test_a_text_file_is_replaced_whole_and_leaves_no_neighbour(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_text_atomically(path, "one")
    write_text_atomically(path, "zwei ü")
    assert path.read_text(encoding="utf-8") == "zwei ü"
    assert list(tmp_path.iterdir()) == [path]


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLANREC_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.setenv("FLANREC_CACHE", "  ")
    assert cache_dir() == Path.home() / ".cache" / "flanrec"


def test_a_hundred_megabytes_are_verified_in_seconds(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(os.urandom(1 << 20) * 100)
    write_manifest(tmp_path)
    began = time.perf_counter()
    verify_manifest(tmp_path)
    assert time.perf_counter() - began < 5


def _fail_half_way(target: Path) -> None:
    with saving(target) as draft:
        (draft / "weights.safetensors").write_bytes(b"1")
        raise RuntimeError("half way")
