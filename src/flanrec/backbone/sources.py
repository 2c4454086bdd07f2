"""Which checkpoint folder a name stands for: a local folder, the hub's cache, the hub, or the offline wheel."""

from __future__ import annotations

import json
import logging
import os
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from flanrec.backbone import offline as wheel
from flanrec.errors import CheckpointError, SettingsError

logger = logging.getLogger(__name__)

DEFAULT_NAME: Final = "google/flan-t5-small"
DEFAULT_REVISION: Final = "0fc9ddf78a1e988dac52e2dac162b0ede4fd74ab"
OFFLINE_NAME: Final = "offline"
PROBE_SECONDS: Final = 3.0

# Weights in other formats are pickles; `trust_remote_code` would need the .py files. Neither is fetched.
_WANTED: Final = [
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "spiece.model",
]

SourceKind = Literal["folder", "hub cache", "hub", "offline wheel"]


@dataclass(frozen=True)
class CheckpointSource:
    """Where a checkpoint came from.

    ``revision`` is the hub's commit or the wheel's version; empty for a folder.
    """

    kind: SourceKind
    name: str
    revision: str
    path: Path


def resolve(
    name: str | Path | None = None, *, revision: str | None = None, offline: bool | None = None
) -> CheckpointSource:
    """Find the folder of a checkpoint: explicit path, hub cache, hub, offline wheel, in this order.

    Parameters
    ----------
    name
        A folder, a hub id such as ``google/flan-t5-base``, ``"offline"`` for the wheel, or None for
        `DEFAULT_NAME` at `DEFAULT_REVISION`.
    revision
        A commit, tag or branch of the hub repository.
    offline
        True: never ask the hub. False: never fall back to the wheel. None: ask the hub if it answers
        within `PROBE_SECONDS` and neither ``HF_HUB_OFFLINE`` nor ``FLANREC_OFFLINE`` is set.

    Raises
    ------
    CheckpointError
        Nothing with this name can be had; the message says what was tried. Only the default model
        is ever replaced by the wheel, which has its architecture, and never a revision that was asked for.
    SettingsError
        A revision of something that has none.
    """
    if isinstance(name, str) and _is_path(name):
        name = Path(name)
    if revision is not None and (isinstance(name, Path) or name == OFFLINE_NAME):
        raise SettingsError(f"revision {revision!r} belongs to a hub id; {str(name)!r} is none. Leave it out.")
    if isinstance(name, Path):
        return _local(name.expanduser())
    if name == OFFLINE_NAME:
        return _from_wheel()
    replaceable = name in (None, DEFAULT_NAME) and revision is None and offline is not False
    name = name or DEFAULT_NAME
    if name == DEFAULT_NAME and revision is None:
        revision = DEFAULT_REVISION
    cached = cached_snapshot(name, revision)
    if cached is not None:
        return CheckpointSource("hub cache", name, cached.name, cached)
    found, why = _from_hub(name, revision, offline)
    if found is not None:
        return found
    if replaceable:
        logger.warning("%s is not used: %s. The offline Flan-T5 takes its place.", name, why)
        return _from_wheel()
    raise CheckpointError(
        f"{name}{f' at {revision}' if revision else ''} cannot be loaded: it is not in the hub's cache, and {why}. "
        f"Download it where there is a network and give the folder, or use {OFFLINE_NAME!r} for the offline Flan-T5."
    )


def offline_asked() -> bool:
    """Tell whether the environment forbids asking the hub (``HF_HUB_OFFLINE`` or ``FLANREC_OFFLINE``)."""
    return any(
        os.environ.get(key, "").strip().lower() in {"1", "true", "yes", "on"}
        for key in ("HF_HUB_OFFLINE", "FLANREC_OFFLINE")
    )


def hub_answers(name: str = DEFAULT_NAME, seconds: float = PROBE_SECONDS) -> bool:
    """Tell whether the hub answers about a repository within `seconds`, name resolution included.

    A thread is waited for rather than a socket's timeout, which does not cover a resolver that hangs.
    Proxies of the environment are used.
    """
    from huggingface_hub.constants import ENDPOINT

    answered: list[bool] = []

    def ask() -> None:
        request = urllib.request.Request(f"{ENDPOINT}/api/models/{name}", method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=seconds):
                answered.append(True)
        except urllib.error.HTTPError as answer:
            answered.append(answer.code in {401, 404, 405, 429})  # the hub itself speaks; 403 is most often a proxy
        except (OSError, ValueError):
            answered.append(False)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answered and answered[0])


def cached_snapshot(name: str, revision: str | None = None) -> Path | None:
    """Return the hub cache's folder of a repository when all that loading needs is in it, else None."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True, allow_patterns=_WANTED))
    except HFValidationError as problem:
        raise CheckpointError(f"{name!r} is neither a folder nor a hub id: {problem}") from problem
    except (OSError, ValueError):
        return None
    has_tokenizer = (folder / "tokenizer.json").is_file() or (folder / "spiece.model").is_file()
    whole = (folder / "config.json").is_file() and has_tokenizer and _has_weights(folder)
    return folder if whole else None


def _has_weights(folder: Path) -> bool:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return (folder / "model.safetensors").is_file()
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError):
        return False
    return all((folder / shard).is_file() for shard in shards)


def _from_hub(name: str, revision: str | None, offline: bool | None) -> tuple[CheckpointSource | None, str]:
    if offline or (offline is None and offline_asked()):
        return None, "the hub may not be asked"
    if not hub_answers(name):
        return None, f"the hub did not answer within {PROBE_SECONDS:g} seconds"
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=_WANTED, etag_timeout=5))
    except (OSError, ValueError) as problem:  # the hub's errors derive from these; so do a full disk and a cut line
        return None, f"the hub's answer was: {str(problem).strip().splitlines()[0]}"
    return CheckpointSource("hub", name, folder.name, folder), ""


def _from_wheel() -> CheckpointSource:
    return CheckpointSource("offline wheel", wheel.PACKAGE, wheel.VERSION, wheel.offline_checkpoint())


def _local(folder: Path) -> CheckpointSource:
    if not folder.is_dir():
        raise CheckpointError(f"There is no folder {folder}. Give a checkpoint folder or a hub id.")
    return CheckpointSource("folder", folder.name, "", folder)


def _is_path(name: str) -> bool:
    if name.startswith(("/", "./", "../", "~")) or "\\" in name or name.count("/") > 1:
        return True
    return name != OFFLINE_NAME and Path(name).is_dir()
