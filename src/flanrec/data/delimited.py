"""Delimited text to a table of strings, keeping track of lines and reporting each line that cannot be read."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import polars as pl

from flanrec.data.problems import Problems
from flanrec.errors import DataError

SNIFFED = (",", "\t", ";", "|")


@dataclass(frozen=True)
class Delimited:
    """A table of strings; `rows` (UInt32) are line numbers, the header being line 1."""

    frame: pl.DataFrame
    rows: pl.Series


def numbered_lines(raw: bytes, file: str, problems: Problems) -> tuple[pl.Series, pl.Series]:
    """Decode to lines with their numbers from 1; lines that are not UTF-8 are reported and left out.

    Blank lines at the end of the file are dropped without a report.
    """
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(f"{file}: the file is UTF-16. Save it as UTF-8.")
    raw = raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").rstrip(b"\n \t\r")
    if not raw:
        return pl.Series("line", [], dtype=pl.String), pl.Series("row", [], dtype=pl.UInt32)
    if b"\n" not in raw and b"\r" in raw:
        raw = raw.replace(b"\r", b"\n")
    try:
        texts = raw.decode("utf-8").split("\n")
        good = None
    except UnicodeDecodeError:
        texts, good = [], []
        for piece in raw.split(b"\n"):
            text = piece.decode("utf-8", errors="replace")
            texts.append(text)
            good.append(text.encode() == piece)
    lines = pl.Series("line", texts, dtype=pl.String)
    rows = pl.Series("row", range(1, len(texts) + 1), dtype=pl.UInt32)
    if good is None:
        return lines, rows
    if not good[0]:
        raise DataError(f"{file}: the header line is not UTF-8. Save the file as UTF-8.")
    mask = pl.Series(good, dtype=pl.Boolean)
    problems.add("invalid UTF-8", file, "", rows.filter(~mask), lines.filter(~mask))
    return lines.filter(mask), rows.filter(mask)


def parse_delimited(
    lines: pl.Series, rows: pl.Series, file: str, separator: str, quoting: bool, problems: Problems
) -> Delimited:
    """Split lines into columns of strings.

    Parameters
    ----------
    lines, rows
        The lines, header first, and their numbers.
    separator
        One character, or empty to find it in the header. A comma that the header does not contain is
        replaced by the separator that it does contain.
    quoting
        Whether double quotes enclose fields, as in CSV.
    """
    header_line = lines[0]
    if separator == "" or (separator == "," and "," not in header_line):
        separator = max(SNIFFED, key=header_line.count)
    header = next(csv.reader([header_line], delimiter=separator)) if quoting else header_line.split(separator)
    header = [name.strip() for name in header]
    repeated = {name for name in header if header.count(name) > 1}
    if repeated:
        raise DataError(f"{file}: the header names {', '.join(sorted(repeated))} more than once. Rename a column.")
    lines, rows = lines[1:], rows[1:]
    blank = lines.str.strip_chars(separator + " \t") == ""
    if quoting and bool(lines.str.contains('"', literal=True).any()):
        return _parse_quoted(lines, rows, header, file, separator, problems)
    problems.add("empty row", file, "", rows.filter(blank), lines.filter(blank))
    fits = lines.str.count_matches(separator, literal=True) == len(header) - 1
    problems.add("wrong number of columns", file, "", rows.filter(~fits & ~blank), lines.filter(~fits & ~blank))
    lines, rows = lines.filter(fits & ~blank), rows.filter(fits & ~blank)
    schema = dict.fromkeys(header, pl.String())
    if lines.len() == 0:
        return Delimited(pl.DataFrame(schema=schema), rows)
    if len(header) == 1:
        return Delimited(pl.DataFrame({header[0]: lines}), rows)
    frame = pl.read_csv(
        io.BytesIO("\n".join(lines.to_list()).encode()),
        has_header=False,
        new_columns=header,
        separator=separator,
        quote_char=None,
        infer_schema=False,
        comment_prefix=None,
    )
    return Delimited(frame, rows)


def _parse_quoted(
    lines: pl.Series, rows: pl.Series, header: list[str], file: str, separator: str, problems: Problems
) -> Delimited:
    """Parse with quotes, where a record may span lines; after a broken record go on at the next line."""
    texts, numbers = lines.to_list(), rows.to_list()
    records: list[list[str]] = []
    record_rows: list[int] = []
    bad: dict[str, list[tuple[int, str]]] = {"empty row": [], "wrong number of columns": [], "broken quoting": []}
    start = 0
    while start < len(texts):
        first = start
        reader = csv.reader((texts[i] + "\n" for i in range(start, len(texts))), delimiter=separator, strict=True)
        done = first
        try:
            for record in reader:
                begin, done = done, first + reader.line_num
                if not any(field.strip() for field in record):
                    bad["empty row"].append((numbers[begin], texts[begin]))
                elif len(record) != len(header):
                    bad["wrong number of columns"].append((numbers[begin], texts[begin]))
                    if done > begin + 1:  # likely an unclosed quote that swallowed good lines
                        done = begin + 1
                        break
                else:
                    records.append(record)
                    record_rows.append(numbers[begin])
        except csv.Error:
            bad["broken quoting"].append((numbers[done], texts[done]))
            done += 1
        start = done
    for problem, found in bad.items():
        problems.add(
            problem,
            file,
            "",
            pl.Series([row for row, _ in found], dtype=pl.UInt32),
            pl.Series([text for _, text in found], dtype=pl.String),
        )
    columns = list(zip(*records, strict=True)) if records else [() for _ in header]
    frame = pl.DataFrame(
        {name: pl.Series(name, values, dtype=pl.String) for name, values in zip(header, columns, strict=True)}
    )
    return Delimited(frame, pl.Series("row", record_rows, dtype=pl.UInt32))
