"""Every format gives the same table; every line that cannot be read is reported with its number."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.data.delimited import numbered_lines, parse_delimited
from flanrec.data.problems import Problems
from flanrec.data.readers import read_table
from flanrec.data.writers import write_table
from flanrec.errors import DataError


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def problems_of(path: Path) -> list[tuple[str, int]]:
    frame = read_table(path).problems.frame()
    return list(zip(frame["problem"].to_list(), frame["row"].to_list(), strict=True))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "user_id,item_id\nu1,i1\nu2,i2\n"),
        ("semicolon.csv", "user_id;item_id\nu1;i1\nu2;i2\n"),
        ("crlf_bom.csv", b"\xef\xbb\xbfuser_id,item_id\r\nu1,i1\r\nu2,i2\r\n"),
        ("quoted.csv", '"user_id","item_id"\n"u1","i1"\n"u2","i2"'),
        ("a.tsv", "user_id\titem_id\nu1\ti1\nu2\ti2\n\n\n"),
        ("a.inter", "user_id:token\titem_id:token\nu1\ti1\nu2\ti2\n"),
        ("a.jsonl", '{"user_id": "u1", "item_id": "i1"}\n{"user_id": "u2", "item_id": "i2"}\n'),
        ("a.csv.gz", gzip.compress(b"user_id,item_id\nu1,i1\nu2,i2\n", mtime=0)),
    ],
)
def test_text_formats_give_the_same_table(tmp_path: Path, name: str, content: str | bytes) -> None:
    table = read_table(write(tmp_path, name, content))
    assert table.frame.to_dict(as_series=False) == {"user_id": ["u1", "u2"], "item_id": ["i1", "i2"]}
    assert table.problems.frame().height == 0


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": pl.Series([1, 2], dtype=pl.Int32), "item_id": ["a", "b"]})
    frame.write_parquet(tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet")
    assert table.frame.equals(frame)
    assert table.rows.to_list() == [1, 2]


def test_row_numbers_are_those_of_an_editor(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'id,text\n1,"two\nlines"\n2,b\n\n3\n4,d\n')
    table = read_table(path)
    assert table.rows.to_list() == [2, 4, 7]
    assert problems_of(path) == [("empty row", 5), ("wrong number of columns", 6)]


def test_a_line_that_is_not_utf8_loses_only_itself(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", b"id,text\n1,a\n2,caf\xe9\n3,\xe4\xb8\xad\n")
    assert problems_of(path) == [("invalid UTF-8", 3)]
    assert read_table(path).frame["text"].to_list() == ["a", "中"]


def test_an_unclosed_quote_loses_only_its_own_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'id,text\n1,a\n2,"open\n3,c\n4,"d, e"\n5,f\n')
    assert read_table(path).frame["id"].to_list() == ["1", "3", "4", "5"]
    assert problems_of(path) == [("broken quoting", 3)]


def test_quotes_are_ordinary_in_atomic_files(tmp_path: Path) -> None:
    path = write(tmp_path, "a.item", 'item_id:token\ttitle:token_seq\n1\t"Weird Al" and friends\n2\t12" single\n')
    table = read_table(path)
    assert table.frame["title"].to_list() == ['"Weird Al" and friends', '12" single']
    assert table.sequences == {"title"}


def test_an_atomic_file_needs_types_in_its_header(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no type"):
        read_table(write(tmp_path, "a.inter", "user_id\titem_id\n1\t2\n"))


def test_bad_json_lines_are_reported_and_the_others_kept(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"id": 1, "t": "a"}\n{"id": 2, \n\n[3]\n{"id": 4, "t": null}\n')
    assert problems_of(path) == [("invalid JSON", 2), ("empty row", 3), ("invalid JSON", 4)]
    assert read_table(path).frame.to_dict(as_series=False) == {"id": [1, 4], "t": ["a", None]}


def test_json_column_of_mixed_types_becomes_text(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", '{"id": "x1"}\n{"id": 2}\n')
    assert read_table(path).frame["id"].to_list() == ["x1", "2"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "empty"),
        ("a.xlsx", "x", "Supported"),
        ("a.csv", b"\xff\xfei\x00d\x00", "UTF-16"),
        ("a.csv", "id,id\n1,2\n", "more than once"),
        ("a.parquet", "no parquet", "not a readable Parquet"),
        ("a.csv.gz", b"\x1f\x8b damaged", "gzip"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(DataError, match=message) as error:
        read_table(path)
    assert str(path) in str(error.value)


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "absent.csv")


def test_lists_and_records_are_written_to_csv_as_text(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [1], "tags": [["a", "b"]], "size": [{"w": 2}]})
    path = write_table(frame, tmp_path / "new" / "a.csv")
    assert read_table(path).frame.rows() == [("1", "a|b", '{"w":2}')]
    with pytest.raises(DataError, match="cannot write"):
        write_table(frame, tmp_path / "a.xlsx")


cells = st.text(st.characters(blacklist_characters="\r\x00", blacklist_categories=["Cs"]), max_size=8)


@given(st.lists(st.tuples(cells, cells, cells), max_size=12))
def test_what_the_csv_module_writes_is_read_back(rows: list[tuple[str, str, str]]) -> None:
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("a", "b", "c"), *rows])
    problems = Problems()
    lines, numbers = numbered_lines(stream.getvalue().encode(), "t.csv", problems)
    parsed = parse_delimited(lines, numbers, "t.csv", ",", True, problems)
    assert parsed.frame.rows() == rows
    assert problems.frame().height == 0


@given(st.lists(st.binary(max_size=20), max_size=12), st.booleans())
def test_no_line_is_lost_whatever_the_bytes(pieces: list[bytes], quoting: bool) -> None:
    body = [piece.replace(b"\n", b"").replace(b"\r", b"") for piece in pieces]
    raw = b"\n".join([b"a,b", *body, b"x,y"])
    problems = Problems()
    lines, numbers = numbered_lines(raw, "t.csv", problems)
    parsed = parse_delimited(lines, numbers, "t.csv", ",", quoting, problems)
    found = set(parsed.rows.to_list()) | set(problems.frame()["row"].to_list())
    if not quoting or b'"' not in raw:  # else a record may span lines
        assert found == set(range(2, len(pieces) + 3))
    assert parsed.frame.width == 2
    assert parsed.frame.height == parsed.rows.len()


@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(-9, 9) | st.text(max_size=4)), min_size=1, max_size=8)
)
def test_json_lines_lose_no_record(tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, object]]) -> None:
    path = tmp_path_factory.mktemp("json") / "t.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records))
    table = read_table(path)
    assert table.rows.to_list() == list(range(1, len(records) + 1))
    for name in table.frame.columns:
        read = ["" if value is None else str(value) for value in table.frame[name].to_list()]
        assert read == [str(record.get(name, "")) for record in records]
