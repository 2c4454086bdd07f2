"""What the commands share: ids as texts, models, tables in and out, progress."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from flanrec.data.columns import WHOLE_NUMBER
from flanrec.data.writers import SEPARATORS, write_table
from flanrec.errors import DataError, NotFoundError, SettingsError

if TYPE_CHECKING:
    from flanrec.recommender import Recommender
    from flanrec.tuning import Callback

logger = logging.getLogger(__name__)

WRITTEN = (*SEPARATORS, ".jsonl", ".parquet")


def load_model(folder: Path, device: str = "auto") -> Recommender:
    """The saved recommender of a folder.

    Raises
    ------
    CheckpointError
        There is no such folder, or it holds something else, or it is damaged.
    """
    from flanrec.recommender import Recommender

    with waiting(f"loading {folder}"):
        return Recommender.load(folder, device=device)


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file without outer spaces, blank lines left out.

    Raises
    ------
    DataError
        The file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as problem:
        raise DataError(f"{path}: the file cannot be read: {problem.strerror}. Check the path.") from problem
    except UnicodeDecodeError as problem:
        line = problem.object[: problem.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: this is not UTF-8. Save the file as UTF-8 text.") from problem
    return [line.strip() for line in text.split("\n") if line.strip()]


def ids_like(dtype: pl.DataType, texts: Sequence[str]) -> list[Any]:
    """Ids in the type of a stored column; a text that cannot be of that type stays a text, which is no stored id.

    >>> ids_like(pl.Int64(), ["196", "u7", "007"]), ids_like(pl.String(), ["196"])
    ([196, 'u7', '007'], ['196'])
    """
    if not dtype.is_integer():
        return list(texts)
    return [int(text) if re.fullmatch(WHOLE_NUMBER, text) else text for text in texts]


def user_ids(recommender: Recommender, users_file: Path | None, users: Sequence[str]) -> list[Any]:
    """The users of a file and of flags in the type the model has, each once."""
    texts = [*(read_lines(users_file) if users_file is not None else ()), *users]
    once = list(dict.fromkeys(texts))
    if len(once) < len(texts):
        logger.warning("%d of %d user ids are repeated; each is answered once", len(texts) - len(once), len(texts))
    if not once:
        logger.warning("%s names no users; the result is empty", users_file)
    return ids_like(recommender.parts.dataset.interactions["user_id"].dtype, once)


def item_ids(recommender: Recommender, path: Path) -> list[Any]:
    """The items of a file with one id a line.

    Raises
    ------
    NotFoundError
        Some are not in the catalogue; the message counts them and names the first.
    """
    catalogue = recommender.parts.catalogue
    ids = ids_like(recommender.parts.dataset.items["item_id"].dtype, read_lines(path))
    unknown = [one for one in ids if one not in catalogue]
    if unknown:
        raise NotFoundError(
            f"{path}: {len(unknown)} of {len(ids)} items are not in the catalogue, such as "
            f"{', '.join(map(repr, unknown[:5]))}. Write ids as the items table has them."
        )
    return ids


def check_out(path: Path | None) -> None:
    """Refuse an output file that could not be written, before any work is done.

    Raises
    ------
    SettingsError
        The suffix is not one that can be written, or there is a folder of this name.
    """
    if path is None:
        return
    if path.suffix not in WRITTEN:
        raise SettingsError(
            f"{path}: cannot write {path.suffix or 'a file without suffix'!r}; use {', '.join(WRITTEN)}"
        )
    if path.is_dir():
        raise SettingsError(f"{path} is a folder; give the name of a file")


def write_out(frame: pl.DataFrame, path: Path) -> None:
    """Write a table by its suffix, so that a crash leaves the old file or the new, never a part."""
    draft = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
    try:
        write_table(frame, draft)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    logger.info("%d rows written to %s", frame.height, path)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    typer.echo(json_text(value))


def json_text(value: Any) -> str:
    """A JSON document; a number that is not finite becomes null."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=2, allow_nan=False, default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_frame(frame: pl.DataFrame, title: str = "") -> None:
    """A table on stdout, numbers to the right."""
    table = Table(title=escape(title) or None)
    for name, dtype in frame.schema.items():
        table.add_column(name, justify="right" if dtype.is_numeric() else "left", overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*("" if cell is None else f"{cell:.4f}" if isinstance(cell, float) else escape(str(cell))
                        for cell in row))  # fmt: skip
    Console().print(table)


@contextlib.contextmanager
def counting(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr where that is a terminal; yields what to call with the number done since the last call."""
    console = Console(stderr=True)
    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=total)
        yield lambda done: bar.advance(task, done)


@contextlib.contextmanager
def waiting(label: str) -> Iterator[None]:
    """Say on a terminal's stderr what is being waited for."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(escape(label)):
        yield


def progress_callbacks(stage: str) -> list[Callback]:
    """Who watches a stage of a fit from the terminal."""
    from flanrec.tuning import ProgressBar

    return [ProgressBar(stage)]
