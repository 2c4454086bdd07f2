"""Instructions of one's own: tables of prompts and what they shall be answered with."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from flanrec.data.addresses import TableAddress
from flanrec.data.dataset import OnBadRows
from flanrec.data.readers import read_table
from flanrec.errors import DataError

_COLUMNS = ("prompt", "target")


def load_examples(
    path: str | Path | TableAddress, on_bad_rows: OnBadRows = "raise", rejects: str | Path | None = None
) -> pl.DataFrame:
    """Read a table of instructions with columns ``prompt`` and ``target``; further columns are left out.

    Parameters
    ----------
    path
        A file in any of the formats of `read_table`, or an address.
    on_bad_rows, rejects
        What to do with rows that lack a text, as for interactions.

    Returns
    -------
    pl.DataFrame
        ``prompt`` and ``target`` as texts, at least one row.

    Raises
    ------
    DataError
        A column is missing, a row lacks a text, or there are no rows.
    """
    table = read_table(path)
    missing = [name for name in _COLUMNS if name not in table.frame.columns]
    if missing:
        raise DataError(
            f"{table.file}: there is no column {missing[0]!r}; its columns are {', '.join(table.frame.columns)}. "
            "Instructions need a column prompt and a column target."
        )
    frame = table.frame.select(pl.col(name).cast(pl.String) for name in _COLUMNS)
    problems = table.problems
    good = pl.repeat(True, frame.height, eager=True)
    for name in _COLUMNS:
        filled = (frame[name].str.strip_chars() != "").fill_null(False)
        problems.add(f"missing {name}", table.file, name, table.rows.filter(~filled), frame[name].filter(~filled))
        good &= filled
    problems.settle(on_bad_rows, None if rejects is None else Path(rejects))
    if not good.any():
        raise DataError(f"{table.file}: no row has a prompt and a target, so there is nothing to learn from.")
    return frame.filter(good)
