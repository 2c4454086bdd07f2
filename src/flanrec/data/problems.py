"""Row-level problems: what is wrong, where, and how to mend it, for all bad rows at once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from flanrec.errors import DataError

log = logging.getLogger(__name__)

SCHEMA = pl.Schema(
    {
        "file": pl.String(),
        "row": pl.UInt32(),
        "column": pl.String(),
        "value": pl.String(),
        "problem": pl.String(),
        "remedy": pl.String(),
    }
)

REMEDIES = {
    "invalid UTF-8": "save the file as UTF-8",
    "wrong number of columns": "give the row as many fields as the header; quote fields that contain the separator",
    "broken quoting": "close the quote, and double quotes inside a quoted field",
    "invalid JSON": "write one complete JSON object a line",
    "empty row": "delete the line",
    "missing user id": "fill in the user id or delete the row",
    "missing item id": "fill in the item id or delete the row",
    "missing prompt": "write the instruction or delete the row",
    "missing target": "write what it shall be answered with or delete the row",
    "missing timestamp": "fill in the time, or leave the whole column out to use the row order",
    "bad timestamp": "write seconds since 1970 or an ISO date such as 2024-05-01T12:00:00",
    "absurd timestamp": "write a time between 1970 and 2100, in the same unit as the other rows",
    "rating is not a number": "write the rating as a finite number, or leave it empty",
    "weight is not a number": "write the weight as a finite number, or leave it empty for 1",
    "negative weight": "write a weight of zero or more",
    "duplicate interaction": "keep one row for the same user, item, time and event",
    "unknown item": "add the item to the items table or delete the row",
    "duplicate item id": "keep one row for each item",
    "item without title": "fill in the title",
    "item without title and text": "fill in the title, the text or both",
    "duplicate user id": "keep one row for each user",
    "review without text": "fill in the review's text or delete the row",
}

EXAMPLES_A_KIND = 3
LONGEST_VALUE = 200


class BadRowsError(DataError):
    """Raised when rows are not usable and the caller did not ask to skip them.

    Attributes
    ----------
    problems
        All problems, one row each: file, row, column, value, problem, remedy.
    """

    def __init__(self, message: str, problems: pl.DataFrame) -> None:
        super().__init__(message)
        self.problems = problems


@dataclass
class Problems:
    """Collects the problems of all tables of a data set."""

    frames: list[pl.DataFrame] = field(default_factory=list)

    def add(self, problem: str, file: str, column: str, rows: pl.Series, values: pl.Series) -> None:
        """Report `problem` for `rows` (numbers in the file) with the `values` found there."""
        if rows.len() == 0:
            return
        if values.dtype != pl.String:
            values = values.cast(pl.String, strict=False)
        frame = pl.DataFrame({"row": rows.cast(pl.UInt32), "value": values.str.slice(0, LONGEST_VALUE)})
        self.frames.append(
            frame.select(
                pl.lit(file).alias("file"),
                "row",
                pl.lit(column).alias("column"),
                pl.col("value").fill_null(""),
                pl.lit(problem).alias("problem"),
                pl.lit(REMEDIES[problem]).alias("remedy"),
            )
        )

    def frame(self) -> pl.DataFrame:
        """All problems, in the order of files as read, then of rows."""
        if not self.frames:
            return pl.DataFrame(schema=SCHEMA)
        joined = pl.concat(self.frames)
        files = joined["file"].unique(maintain_order=True)
        order = pl.DataFrame({"file": files, "_order": range(files.len())})
        return (
            joined.join(order, on="file", maintain_order="left")
            .sort("_order", "row", maintain_order=True)
            .drop("_order")
        )

    def settle(self, on_bad_rows: str, rejects: Path | None) -> pl.DataFrame:
        """Write the reject file, then raise or log, as the caller asked.

        Raises
        ------
        BadRowsError
            There are problems and `on_bad_rows` is ``"raise"``.
        """
        frame = self.frame()
        if rejects is not None:
            rejects.parent.mkdir(parents=True, exist_ok=True)
            frame.write_csv(rejects)
        if frame.height == 0:
            return frame
        if on_bad_rows == "raise":
            raise BadRowsError(summary(frame, rejects), frame)
        log.warning("%s; these rows were left out", summary(frame, rejects, examples=1))
        return frame


def counts(frame: pl.DataFrame) -> dict[str, int]:
    """Number of problems of each kind, most frequent first."""
    table = frame.group_by("problem", maintain_order=True).len().sort("len", descending=True, maintain_order=True)
    return dict(zip(table["problem"].to_list(), table["len"].to_list(), strict=True))


def bad_rows(frame: pl.DataFrame) -> int:
    """Number of distinct rows that have a problem."""
    return frame.select("file", "row").n_unique() if frame.height else 0


def summary(frame: pl.DataFrame, rejects: Path | None = None, examples: int = EXAMPLES_A_KIND) -> str:
    """A message that counts every kind of problem and shows the first of each."""
    kinds = counts(frame)
    rows = bad_rows(frame)
    lines = [
        f"{rows} bad row{'' if rows == 1 else 's'} with {len(kinds)} kind{'' if len(kinds) == 1 else 's'} of problems"
    ]
    for problem, count in kinds.items():
        lines.append(f"  {problem} ({count}): {REMEDIES[problem]}")
        for row in frame.filter(pl.col("problem") == problem).head(examples).iter_rows(named=True):
            column = f", column {row['column']}" if row["column"] else ""
            lines.append(f"    {row['file']}, row {row['row']}{column}: {row['value']!r}")
    if rejects is not None:
        lines.append(f"  all of them are in {rejects}")
    else:
        lines.append(
            "  to leave such rows out: on_bad_rows='skip' (--on-bad-rows skip), with rejects=FILE to keep a record"
        )
    return "\n".join(lines)
