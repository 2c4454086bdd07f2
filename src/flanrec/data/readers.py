"""Reading tables: CSV, TSV, Parquet, JSON Lines and RecBole atomic files, and tables of PostgreSQL databases.

A reader never stops at the first bad line. It returns what it could read together with the problems
it met, and the row number of every record as an editor shows it: the first line of a text file is
row 1, so in a file with a header the first record is row 2. Parquet and databases have no lines; their first
record is row 1.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from flanrec.data.addresses import TableAddress
from flanrec.data.databases import read_database
from flanrec.data.delimited import Delimited, numbered_lines, parse_delimited
from flanrec.data.problems import Problems
from flanrec.errors import DataError

TEXT_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "", ".inter": "\t", ".item": "\t", ".user": "\t"}
ATOMIC = {".inter", ".item", ".user"}
JSON_LINES = {".jsonl", ".ndjson"}
PARQUET = {".parquet", ".pq"}
SUPPORTED = "csv, tsv, txt, parquet, jsonl, ndjson, inter, item, user (text formats also as .gz)"


@dataclass(frozen=True)
class Table:
    """A table as read.

    Attributes
    ----------
    frame
        The records. Values of CSV and TSV files are all text; other formats carry types.
    rows
        UInt32, the row number in the file of each record.
    file
        The file's name, or the address of the database's table without password, for messages.
    typed
        False when every value is text whose type is still to be found (CSV, TSV).
    sequences
        Columns of space-separated tokens (RecBole ``token_seq`` and ``float_seq``).
    problems
        What was wrong with lines that are not in `frame`.
    """

    frame: pl.DataFrame
    rows: pl.Series
    file: str
    typed: bool
    sequences: frozenset[str]
    problems: Problems


def read_table(path: str | Path | TableAddress) -> Table:
    """Read a table in the format that the file's suffix names, or that of a ``postgresql://`` address.

    Raises
    ------
    DataError
        The file does not exist, is empty, is damaged, or has a suffix that is not supported; the database cannot be
        read (`flanrec.data.databases.read_database`).
    SettingsError
        An address is malformed, or the extra that it needs is not installed.
    """
    place = TableAddress.parse(path).place
    return _read_file(place) if isinstance(place, Path) else _counted(read_database(place), str(place))


def _read_file(path: Path) -> Table:
    if not path.is_file():
        raise DataError(f"{path}: no such file. Check the path; supported formats: {SUPPORTED}.")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = bool(suffixes) and suffixes[-1] == ".gz"
    suffix = (suffixes[:-1] if packed else suffixes)[-1:]
    kind = suffix[0] if suffix else ""
    if kind in PARQUET and not packed:
        return _read_parquet(path)
    if kind not in JSON_LINES and kind not in TEXT_SEPARATORS:
        raise DataError(f"{path}: cannot tell the format from the suffix {kind!r}. Supported: {SUPPORTED}.")
    raw = _read_bytes(path, packed)
    problems = Problems()
    lines, rows = numbered_lines(raw, str(path), problems)
    if lines.len() == 0:
        raise DataError(f"{path}: the file is empty. Write a header line and at least one record.")
    if kind in JSON_LINES:
        return _read_json_lines(lines, rows, str(path), problems)
    parsed = parse_delimited(lines, rows, str(path), TEXT_SEPARATORS[kind], kind not in ATOMIC, problems)
    if kind in ATOMIC:
        return _atomic(parsed, str(path), problems)
    return Table(parsed.frame, parsed.rows, str(path), False, frozenset(), problems)


def _read_bytes(path: Path, packed: bool) -> bytes:
    if not packed:
        return path.read_bytes()
    try:
        with gzip.open(path) as stream:
            return stream.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: the gzip file is damaged ({error}). Fetch or write it again.") from error


def _read_parquet(path: Path) -> Table:
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}). Write it again.") from error
    return _counted(frame, str(path))


def _counted(frame: pl.DataFrame, file: str) -> Table:
    """A table that has types and no lines."""
    rows = pl.Series("row", range(1, frame.height + 1), dtype=pl.UInt32)
    return Table(frame, rows, file, True, frozenset(), Problems())


def _atomic(parsed: Delimited, file: str, problems: Problems) -> Table:
    """Apply the typed header of a RecBole atomic file: ``name:token``, ``float``, ``token_seq``, ``float_seq``."""
    types: dict[str, str] = {}
    for header in parsed.frame.columns:
        name, _, kind = header.rpartition(":")
        if not name or kind not in {"token", "float", "token_seq", "float_seq"}:
            raise DataError(
                f"{file}: column header {header!r} has no type. In an atomic file write name:token, name:float, "
                "name:token_seq or name:float_seq; or give the file the suffix .tsv."
            )
        types[name] = kind
    if len(types) != parsed.frame.width:
        raise DataError(f"{file}: two columns have the same name ({', '.join(parsed.frame.columns)}). Rename one.")
    frame = parsed.frame.rename(dict(zip(parsed.frame.columns, types, strict=True)))
    sequences = frozenset(name for name, kind in types.items() if kind.endswith("_seq"))
    return Table(frame, parsed.rows, file, True, sequences, problems)


def _read_json_lines(lines: pl.Series, rows: pl.Series, file: str, problems: Problems) -> Table:
    filled = lines.str.strip_chars() != ""
    problems.add("empty row", file, "", rows.filter(~filled), lines.filter(~filled))
    lines, rows = lines.filter(filled), rows.filter(filled)
    try:
        frame = pl.read_ndjson(io.BytesIO("\n".join(lines.to_list()).encode()), infer_schema_length=None)
        if frame.height == lines.len():
            return Table(frame, rows, file, True, frozenset(), problems)
    except pl.exceptions.PolarsError:
        pass  # some line is not an object, or a column mixes types: read line by line below
    records: list[dict[str, Any]] = []
    good: list[bool] = []
    for line in lines.to_list():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        good.append(isinstance(record, dict))
        if isinstance(record, dict):
            records.append(record)
    mask = pl.Series(good, dtype=pl.Boolean)
    problems.add("invalid JSON", file, "", rows.filter(~mask), lines.filter(~mask))
    return Table(_frame_of_records(records), rows.filter(mask), file, True, frozenset(), problems)


def _frame_of_records(records: list[dict[str, Any]]) -> pl.DataFrame:
    """A frame with one column a key; a column that mixes types becomes text."""
    names = dict.fromkeys(name for record in records for name in record)
    columns: dict[str, pl.Series] = {}
    for name in names:
        values = [record.get(name) for record in records]
        try:
            columns[name] = pl.Series(name, values, strict=True)
        except (TypeError, pl.exceptions.PolarsError, OverflowError):
            texts = [value if isinstance(value, str) or value is None else json.dumps(value) for value in values]
            columns[name] = pl.Series(name, texts, dtype=pl.String)
    return pl.DataFrame(columns)
