"""Public data sets, fetched once, checked and kept in the cache folder."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl

from flanrec.data.dataset import Dataset
from flanrec.data.movielens import Frames, frames_of_atomic, frames_of_grouplens
from flanrec.data.writers import write_table
from flanrec.errors import DataError, NotFoundError

log = logging.getLogger(__name__)

GROUPLENS_URL = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
GROUPLENS_SHA256 = "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"
CONNECT_SECONDS = 5.0
LARGEST_DOWNLOAD = 20_000_000

WHEEL = "recbole==1.2.1"
WHEEL_FOLDER = "recbole/dataset_example/ml-100k/ml-100k"
WHEEL_SHA256 = {
    "inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
}
WHEEL_SECONDS = 120

TABLES = ("interactions", "items", "users")
MANIFEST = "manifest.json"


def cache_dir() -> Path:
    """Where downloads are kept: ``$FLANREC_CACHE``, else ``~/.cache/flanrec``."""
    return Path(os.environ.get("FLANREC_CACHE") or Path.home() / ".cache" / "flanrec").expanduser()


def load_dataset(name: str = "ml-100k", cache: str | Path | None = None) -> Dataset:
    """Load a public data set, fetching it first if the cache does not have it.

    MovieLens-100K has text ids, ratings, titles such as ``Toy Story (1995)``, genres as categories and
    users with age, gender, occupation and zip_code. Its rows stand in the order of GroupLens' ``u.data``.

    Raises
    ------
    NotFoundError
        There is no data set of this name.
    DataError
        It can be had from none of its sources.
    """
    folder = _cached(name, cache)
    frames = {table: pl.read_parquet(folder / f"{table}.parquet") for table in TABLES}
    return Dataset.from_frames(frames["interactions"], frames["items"], frames["users"], name=name)


def fetch(name: str = "ml-100k", to: str | Path | None = None, cache: str | Path | None = None) -> Path:
    """Fetch a public data set and return the folder that holds it.

    Parameters
    ----------
    to
        Also write interactions.csv, items.csv and users.csv into this folder and return it instead of
        the cache's, which holds the same tables as Parquet.
    """
    folder = _cached(name, cache)
    if to is None:
        return folder
    for table in TABLES:
        write_table(pl.read_parquet(folder / f"{table}.parquet"), Path(to) / f"{table}.csv")
    return Path(to)


def _cached(name: str, cache: str | Path | None) -> Path:
    if name not in SOURCES:
        raise NotFoundError(f"no public data set is called {name!r}. There is: {', '.join(SOURCES)}.")
    folder = (cache_dir() if cache is None else Path(cache)) / "datasets" / name
    if _intact(folder):
        return folder
    failures = []
    for label, source in SOURCES[name]:
        try:
            frames = source()
        except (DataError, OSError, subprocess.SubprocessError, zipfile.BadZipFile, KeyError) as error:
            log.info("%s: not to be had from %s (%s)", name, label, error)
            failures.append(f"{label}: {error}")
            continue
        log.info("%s: fetched from %s", name, label)
        _store(frames, folder, label)
        return folder
    reasons = "; ".join(failures)
    raise DataError(f"{name} can be had from none of its sources. {reasons}. Check the network or pass your own files.")


def _intact(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        return all(_sha256((folder / f"{table}.parquet").read_bytes()) == manifest["sha256"][table] for table in TABLES)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _store(frames: Frames, folder: Path, source: str) -> None:
    """Write all tables beside the final place and move them there at once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        draft = Path(temporary) / "draft"
        draft.mkdir()
        for table in TABLES:
            frames[table].write_parquet(draft / f"{table}.parquet")
        sums = {table: _sha256((draft / f"{table}.parquet").read_bytes()) for table in TABLES}
        (draft / MANIFEST).write_text(json.dumps({"source": source, "sha256": sums}, indent=2))
        try:
            if folder.exists() and not _intact(folder):
                shutil.rmtree(folder)
            draft.rename(folder)
        except OSError:
            if not _intact(folder):  # else another process was first, with the same content
                raise


def _from_grouplens() -> Frames:
    request = urllib.request.Request(GROUPLENS_URL, headers={"User-Agent": "flanrec"})
    try:
        with urllib.request.urlopen(request, timeout=CONNECT_SECONDS) as response:
            raw = response.read(LARGEST_DOWNLOAD)
    except urllib.error.URLError as error:
        raise DataError(f"{GROUPLENS_URL} is not reachable ({error.reason})") from error
    _check(raw, GROUPLENS_SHA256, GROUPLENS_URL)
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return frames_of_grouplens(*(archive.read(f"ml-100k/u.{part}") for part in ("data", "item", "user")))


def _from_wheel() -> Frames:
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
        command += ["--disable-pip-version-check", "--dest", temporary, WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, timeout=WHEEL_SECONDS, check=False)
        wheels = list(Path(temporary).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            reason = (done.stderr.strip().splitlines() or ["no wheel was written"])[-1]
            raise DataError(f"pip download {WHEEL} failed ({reason})")
        with zipfile.ZipFile(wheels[0]) as archive:
            members = {part: archive.read(f"{WHEEL_FOLDER}.{part}") for part in WHEEL_SHA256}
    for part, expected in WHEEL_SHA256.items():
        _check(members[part], expected, f"{WHEEL_FOLDER}.{part}")
    return frames_of_atomic(members["inter"], members["item"], members["user"])


def _check(raw: bytes, expected: str, where: str) -> None:
    found = _sha256(raw)
    if found != expected:
        raise DataError(f"{where}: SHA-256 is {found}, expected {expected}; the file is damaged or has changed")


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


SOURCES: dict[str, list[tuple[str, Callable[[], Frames]]]] = {
    "ml-100k": [("GroupLens", _from_grouplens), (f"the {WHEEL} package", _from_wheel)]
}
