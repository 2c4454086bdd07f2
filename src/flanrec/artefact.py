"""Folders that are whole or refused: where flanrec keeps files, and the manifest every saved folder carries.

A saved folder holds ``manifest.json`` with the size and the SHA-256 of each of its files. It is
written last, so a folder that a crash left half written has none, and a folder that was damaged
afterwards does not agree with it. Loaders call `verify_manifest` before they read anything else.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from flanrec.errors import CheckpointError

MANIFEST = "manifest.json"
MANIFEST_FORMAT = 1
_STALE_SECONDS = 24 * 3600
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux

# Loaders of the libraries below pick files up by name. One of these that the manifest does not list
# was added by somebody else, and could change what is loaded; anything else (a README, a list of
# recommendations written beside the model) is left alone.
_LOADABLE = frozenset(
    {".safetensors", ".json", ".npz", ".npy", ".parquet", ".usearch", ".model", ".py", ".toml", ".jinja"}
    | {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack"}
)


def cache_dir() -> Path:
    """Return the folder for downloads and conversions: ``$FLANREC_CACHE``, else ``~/.cache/flanrec``.

    The folder is not created here.
    """
    chosen = os.environ.get("FLANREC_CACHE", "").strip()
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "flanrec"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_text_atomically(path: Path, text: str) -> None:
    """Write a UTF-8 file so that a crash leaves either the old content or the new, never a part.

    The text goes to a neighbouring file, is flushed to the disk, and takes the place of `path`
    in one rename.
    """
    neighbour = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with neighbour.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(neighbour, path)
    finally:
        neighbour.unlink(missing_ok=True)
    _flush_folder(path.parent)


def write_manifest(folder: Path | str, about: Mapping[str, Any] | None = None) -> Path:
    """Record every file of a folder and seal it; call this after all other files are written.

    Parameters
    ----------
    folder
        A folder whose files are complete. Sub-folders are included; hidden files are not.
    about
        JSON-able facts to keep beside the checksums, such as the kind of the folder.

    Returns
    -------
    Path
        The manifest. Each file is flushed to the disk before it is listed.
    """
    folder = Path(folder)
    files: dict[str, dict[str, int | str]] = {}
    for name, path in _files_of(folder):
        if name == MANIFEST:
            continue
        _flush_file(path)
        files[name] = {"size": path.stat().st_size, "sha256": sha256_of(path)}
    body = {"format": MANIFEST_FORMAT, "about": dict(about or {}), "files": files}
    target = folder / MANIFEST
    write_text_atomically(target, json.dumps(body, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    return target


def verify_manifest(folder: Path | str, *, content: bool = True) -> dict[str, Any]:
    """Check a folder against its manifest and return what the manifest says about it.

    Parameters
    ----------
    folder
        A folder sealed by `write_manifest`.
    content
        Compare SHA-256 too, not only presence and size. About a second for a gigabyte.

    Raises
    ------
    CheckpointError
        No folder, no manifest, a manifest that cannot be read, a file that is missing, has another
        size or other content, or a loadable file that the manifest does not list. The message names it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CheckpointError(f"There is no folder {folder}. Check the path.")
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise CheckpointError(
            f"{folder} has no {MANIFEST}, so it is unfinished or was not saved by flanrec. "
            "Use a folder that was saved to the end, or save it again."
        )
    about, files = _read_manifest(manifest)
    for name, entry in files.items():
        _verify_file(folder, name, entry, content)
    for name, path in _files_of(folder):
        if name != MANIFEST and name not in files and path.suffix.lower() in _LOADABLE:
            raise CheckpointError(
                f"{folder / name} is not listed in {MANIFEST}: it was added after the folder was saved. "
                "Remove it, or save the folder again."
            )
    return about


@contextlib.contextmanager
def saving(target: Path | str, about: Mapping[str, Any] | None = None) -> Iterator[Path]:
    """Fill a temporary folder, then seal it and move it to `target` in one rename.

    Nothing appears under `target` when the block raises or the process dies. A folder that is
    already there is replaced when it is empty or has a manifest; anything else is refused, so that
    a wrong path never costs somebody their files.

    Yields
    ------
    Path
        An empty folder beside `target` to write into.

    Raises
    ------
    CheckpointError
        `target` is a file, or a folder with files that flanrec did not save.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     with saving(Path(place) / "model", {"kind": "example"}) as folder:
    ...         _ = (folder / "settings.json").write_text("{}")
    ...     verify_manifest(Path(place) / "model")
    {'kind': 'example'}
    """
    target = Path(target)
    _refuse_foreign(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    draft.mkdir()
    try:
        yield draft
        write_manifest(draft, about)
        _put_in_place(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _flush_folder(target.parent)


def _refuse_foreign(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise CheckpointError(f"{target} is a file; give a folder to save into.")
    if target.is_dir() and any(target.iterdir()) and not (target / MANIFEST).is_file():
        raise CheckpointError(
            f"{target} has files that flanrec did not save; it will not be replaced. Give an empty or a new folder."
        )


def _put_in_place(draft: Path, target: Path) -> None:
    try:
        os.rename(draft, target)  # also over an empty folder
        return
    except OSError:
        if not target.exists():
            raise
    if _swapped(draft, target):
        return  # whoever made the draft removes it, with the earlier save in it
    # The earlier save steps aside first, and is deleted last. A crash between the two renames leaves both whole, under
    # hidden names beside the target.
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.old")
    os.rename(target, aside)
    try:
        os.rename(draft, target)
    except OSError:
        os.rename(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _swapped(one: Path, other: Path) -> bool:
    """Let two folders change names in one step, so that a kill leaves one of them there; False where that cannot be."""
    try:
        exchange = ctypes.CDLL(None, use_errno=True).renameat2  # Linux
    except (OSError, AttributeError, TypeError):
        return False
    return bool(exchange(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)


def _sweep(target: Path) -> None:
    """Remove what killed saves of the same target left behind more than a day ago."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left)


def _read_manifest(manifest: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    damaged = f"{manifest} is damaged; take the folder from a copy, or save it again."
    try:
        body = json.loads(manifest.read_text(encoding="utf-8"))
        if body["format"] != MANIFEST_FORMAT:
            raise CheckpointError(
                f"{manifest} has format {body['format']!r}, this version of flanrec reads {MANIFEST_FORMAT}. "
                "Load it with the version that saved it."
            )
        about, files = dict(body["about"]), {str(name): dict(entry) for name, entry in body["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise CheckpointError(damaged) from problem
    for name in files:
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\\" in name:
            raise CheckpointError(f"{manifest} names {name!r}, which is outside the folder. Do not use this folder.")
    return about, files


def _verify_file(folder: Path, name: str, entry: Mapping[str, Any], content: bool) -> None:
    path = folder / name
    remedy = "Take the folder from a copy, or save it again."
    if not path.is_file():
        raise CheckpointError(f"{path} is missing, although {MANIFEST} lists it. {remedy}")
    size = path.stat().st_size
    if size != entry.get("size"):
        raise CheckpointError(f"{path} has {size} bytes where {MANIFEST} says {entry.get('size')}. {remedy}")
    if content and sha256_of(path) != entry.get("sha256"):
        raise CheckpointError(f"{path} does not have the content that {MANIFEST} recorded (SHA-256). {remedy}")


def _files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            yield relative.as_posix(), path


def _flush_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    # Windows cannot open a folder; there the rename alone has to do.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
