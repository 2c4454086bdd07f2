"""Folders of runs: refused before a run where they would fail it, and cleared after it."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from flanrec.artefact import MANIFEST
from flanrec.errors import SettingsError


def run_folder(out: Path, runs: Path | None) -> Path:
    """Where checkpoints and curves of a run go that saves into `out`: the folder asked for, or one beside it."""
    return runs if runs is not None else out.with_name(f"{out.name}.run")


@contextmanager
def run_in(folder: Path, out: Path, *, resume: bool, keep_checkpoints: bool) -> Iterator[bool]:
    """A run that saves into `out`, with its checkpoints and curves in `folder`: refused early, or tidied up afterwards.

    Of the processes of a launcher the first one looks, tells and tidies up, and the others only warn. An interrupted
    run says how to go on.

    Yields
    ------
    bool
        Whether this process is the first.

    Raises
    ------
    SettingsError
        See `refuse_unusable`.
    """
    first = os.environ.get("RANK", "0") == "0"
    if first:
        refuse_unusable(out, folder, resume)
    else:
        logging.getLogger("flanrec").setLevel(logging.WARNING)
    try:
        yield first
    except KeyboardInterrupt:
        if first:
            typer.echo(told_of_interruption(folder), err=True)
        raise
    if first and not keep_checkpoints:
        tidy(folder)


def refuse_unusable(out: Path, folder: Path, resume: bool) -> None:
    """Refuse before the tuning what would fail after it.

    Raises
    ------
    SettingsError
        `out` has files of somebody else, `folder` is inside of it, or holds a run that is not to be resumed.
    """
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is a file; give a folder with --out")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise SettingsError(f"{out} has files that flanrec did not save; give an empty or a new folder with --out")
    if folder.resolve().is_relative_to(out.resolve()):
        raise SettingsError(f"{folder} is inside {out}, which is replaced as a whole; give another folder with --runs")
    if not resume and has_checkpoints(folder):
        raise SettingsError(
            f"{folder} holds checkpoints of an earlier run; add --resume to go on with it, or remove the folder"
        )


def has_checkpoints(folder: Path) -> bool:
    """Whether a run could be resumed from here."""
    return any(path.is_dir() for path in (*folder.glob("*/checkpoints/*"), *folder.glob("*-done")))


def tidy(folder: Path) -> None:
    """Remove what only a resumed run needs; a kill leaves each part whole or out of the way."""
    for finished in (*folder.glob("*/checkpoints"), *folder.glob("*-done"), folder / "ray"):
        if finished.is_dir():
            gone = finished.with_name(f".{finished.name}.gone")
            shutil.rmtree(gone, ignore_errors=True)
            finished.rename(gone)
    for gone in (*folder.glob(".*.gone"), *folder.glob("*/.*.gone")):
        shutil.rmtree(gone, ignore_errors=True)
    (folder / "examples.npz").unlink(missing_ok=True)


def told_of_interruption(folder: Path) -> str:
    """What an interrupted run says."""
    if has_checkpoints(folder):
        return f"interrupted; {folder} has checkpoints: the same command with --resume goes on"
    return "interrupted before the first checkpoint; nothing was saved"
