"""Which checkpoint is used with a hub, without one, and with one that never answers.

The hub here is a small HTTP server that speaks the few answers the hub's own client asks for. The
client reads its address when it is imported, so each case runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flanrec.artefact import cache_dir
from flanrec.backbone.sources import DEFAULT_REVISION, resolve
from flanrec.errors import CheckpointError, SettingsError

FILES = {
    "config.json": b'{"model_type": "t5"}',
    "tokenizer.json": b"{}",
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"a pickle",
    "modeling.py": b"raise SystemExit('remote code ran')",
}
SCRIPT = """
import json, sys, time
from flanrec.backbone.sources import resolve
from flanrec.errors import CheckpointError
began = time.perf_counter()
try:
    found = resolve(**json.loads(sys.argv[1]))
    answer = {"kind": found.kind, "name": found.name, "revision": found.revision,
              "files": sorted(path.name for path in found.path.iterdir())}
except CheckpointError as problem:
    answer = {"error": str(problem)}
print(json.dumps(answer | {"seconds": time.perf_counter() - began}))
"""


class _Hub(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/api/models/"):
            sha = path.rsplit("/", 1)[-1] if "/revision/" in path else DEFAULT_REVISION
            sha = sha if len(sha) == 40 else DEFAULT_REVISION
            tree = [{"type": "file", "path": name, "size": len(data), "oid": "0" * 40} for name, data in FILES.items()]
            record = {"id": "google/flan-t5-small", "sha": sha, "siblings": [{"rfilename": name} for name in FILES]}
            content = json.dumps(tree if "/tree/" in path else record).encode()
        else:
            content = FILES.get(path.rsplit("/", 1)[-1], b"")
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/json")
        self.send_header("ETag", f'"{len(content)}-{path.rsplit("/", 1)[-1]}"')
        self.send_header("X-Repo-Commit", DEFAULT_REVISION)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def silent_hub() -> Iterator[str]:
    """A port that takes connections and never says anything, as a dropping firewall does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def run(endpoint: str, home: Path, **arguments: Any) -> dict[str, Any]:
    proxies = {"http_proxy", "https_proxy", "all_proxy"}
    kept = {key: value for key, value in os.environ.items() if key.lower() not in proxies}
    for key in ("HF_HUB_OFFLINE", "FLANREC_OFFLINE", "HF_HUB_CACHE"):
        kept.pop(key, None)
    environment = kept | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "FLANREC_CACHE": str(cache_dir())}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_hub_is_used_at_the_pinned_revision_and_only_safe_files_are_fetched(hub: str, tmp_path: Path) -> None:
    answer = run(hub, tmp_path)
    assert (answer["kind"], answer["name"], answer["revision"]) == ("hub", "google/flan-t5-small", DEFAULT_REVISION)
    assert answer["files"] == ["config.json", "model.safetensors", "tokenizer.json"]


def test_the_hubs_cache_needs_no_hub(hub: str, silent_hub: str, tmp_path: Path) -> None:
    run(hub, tmp_path)
    answer = run(silent_hub, tmp_path)
    assert (answer["kind"], answer["revision"]) == ("hub cache", DEFAULT_REVISION)
    assert answer["seconds"] < 2


@pytest.mark.parametrize("name", [None, "google/flan-t5-small"])
def test_a_hub_that_never_answers_costs_at_most_five_seconds(silent_hub: str, tmp_path: Path, name: str | None) -> None:
    resolve("offline")  # have the conversion at hand: it is the waiting that is timed
    answer = run(silent_hub, tmp_path, name=name)
    assert answer["kind"] == "offline wheel"
    assert answer["seconds"] < 5


def test_a_host_that_does_not_exist_costs_at_most_five_seconds(tmp_path: Path) -> None:
    resolve("offline")
    answer = run("http://hub.invalid", tmp_path)
    assert answer["kind"] == "offline wheel"
    assert answer["seconds"] < 5


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "google/flan-t5-base"},
        {"name": "google/flan-t5-small", "revision": "0123456789012345678901234567890123456789"},
        {"offline": False},
    ],
    ids=["another model", "a revision asked for", "no fallback wanted"],
)
def test_what_was_asked_for_is_never_replaced_in_silence(
    silent_hub: str, tmp_path: Path, arguments: dict[str, Any]
) -> None:
    answer = run(silent_hub, tmp_path, **arguments)
    assert "the hub did not answer within 3 seconds" in answer["error"]
    assert answer["seconds"] < 5


def test_offline_never_asks_the_hub(hub: str, tmp_path: Path) -> None:
    answer = run(hub, tmp_path, offline=True)
    assert answer["kind"] == "offline wheel"
    assert "may not be asked" in run(hub, tmp_path, name="google/flan-t5-base", offline=True)["error"]


def test_the_environment_can_forbid_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLANREC_OFFLINE", "1")
    began = time.perf_counter()
    with pytest.raises(CheckpointError, match="may not be asked"):
        resolve("google/flan-t5-xl")
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "~/nowhere-at-all", "a/b/c", Path("nowhere")])
def test_a_path_that_is_not_there_is_not_taken_for_a_hub_id(name: str | Path) -> None:
    with pytest.raises(CheckpointError, match="no folder"):
        resolve(name)


def test_a_revision_of_something_that_has_none_is_refused(tmp_path: Path) -> None:
    for name in (tmp_path, "offline"):
        with pytest.raises(SettingsError, match="belongs to a hub id"):
            resolve(name, revision="main")


def test_a_cached_copy_with_a_shard_missing_is_not_taken_for_whole(hub: str, silent_hub: str, tmp_path: Path) -> None:
    run(hub, tmp_path)
    (weights,) = tmp_path.rglob("model.safetensors")
    weights.rename(weights.with_name("model-00001-of-00002.safetensors"))
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    weights.with_name("model.safetensors.index.json").write_text(json.dumps(index))
    assert run(silent_hub, tmp_path)["kind"] == "offline wheel"


def test_a_name_that_can_be_neither_is_refused() -> None:
    with pytest.raises(CheckpointError, match="neither a folder nor a hub id"):
        resolve("not a name!")


def test_a_folder_comes_first_although_its_name_could_be_a_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "google" / "flan-t5-small").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve("google/flan-t5-small").kind == "folder"
