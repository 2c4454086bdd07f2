"""Writing tables in the formats that `flanrec.data.readers` reads."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from flanrec.errors import DataError

SEPARATORS = {".csv": ",", ".tsv": "\t"}


def write_table(frame: pl.DataFrame, path: Path) -> Path:
    """Write a table in the format of the path's suffix; folders are made as needed.

    CSV and TSV have no lists: their elements are joined by ``|``, as the reader splits categories. Records
    become JSON.

    Raises
    ------
    DataError
        The suffix is not .csv, .tsv, .parquet or .jsonl.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".jsonl":
        frame.write_ndjson(path)
    elif path.suffix in SEPARATORS:
        lists = [column for column, dtype in frame.schema.items() if isinstance(dtype, pl.List)]
        records = [column for column, dtype in frame.schema.items() if isinstance(dtype, pl.Struct)]
        flat = frame.with_columns(
            *(pl.col(column).cast(pl.List(pl.String)).list.join("|") for column in lists),
            *(pl.col(column).struct.json_encode() for column in records),
        )
        flat.write_csv(path, separator=SEPARATORS[path.suffix])
    else:
        raise DataError(f"{path}: cannot write {path.suffix!r}. Use .csv, .tsv, .parquet or .jsonl.")
    return path
