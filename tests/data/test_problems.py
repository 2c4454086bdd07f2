"""Bad rows: each kind is reported with its place and its remedy, and only bad rows are left out."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flanrec.data import BadRowsError, Dataset
from flanrec.data.problems import REMEDIES

BAD: dict[int, tuple[bytes, str]] = {
    10: (b",1,1700000010,4,1", "missing user id"),
    20: (b"7,,1700000020,4,1", "missing item id"),
    30: (b"7,2,,4,1", "missing timestamp"),
    40: (b"7,3,yesterday,4,1", "bad timestamp"),
    50: (b"7,4,-5,4,1", "absurd timestamp"),
    55: (b"7,4,1700000055000,4,1", "absurd timestamp"),
    60: (b"7,5,1700000060,good,1", "rating is not a number"),
    70: (b"7,6,1700000070,4,much", "weight is not a number"),
    80: (b"7,7,1700000080,4,-1", "negative weight"),
    90: (b"1,1,1700000002,3,1", "duplicate interaction"),
    100: (b"7,999,1700000100,4,1", "unknown item"),
    110: (b"7,8,1700000110,4", "wrong number of columns"),
    120: (b"7,9,1700000120,4,1,extra", "wrong number of columns"),
    130: (b"caf\xe9,9,1700000130,4,1", "invalid UTF-8"),
    140: (b"", "empty row"),
    150: (b",,,,", "empty row"),
    160: (b'7,9,1700000160,"4,1', "broken quoting"),
}


@pytest.fixture
def bad_files(tmp_path: Path) -> tuple[Path, Path]:
    """200 rows, 17 of them bad in 14 ways, and ten items."""
    lines = [b"user_id,item_id,timestamp,rating,weight"]
    for row in range(2, 202):
        user, item = (1, 1) if row == 2 else (row % 9, row % 10 + 1)
        lines.append(BAD[row][0] if row in BAD else f"{user},{item},{1700000000 + row},4,1".encode())
    (tmp_path / "log.csv").write_bytes(b"\n".join(lines) + b"\n")
    titles = "".join(f"{item},Title {item}\n" for item in range(1, 11))
    (tmp_path / "items.csv").write_text("item_id,title\n" + titles)
    return tmp_path / "log.csv", tmp_path / "items.csv"


def test_200_rows_with_many_kinds_of_bad_ones_are_reported_at_once(
    bad_files: tuple[Path, Path], tmp_path: Path
) -> None:
    rejects = tmp_path / "out" / "rejects.csv"
    with pytest.raises(BadRowsError) as error:
        Dataset.from_files(*bad_files, rejects=rejects)
    message = str(error.value)
    kinds = {problem for _, problem in BAD.values()}
    assert len(kinds) >= 12
    for kind in kinds:
        assert kind in message
        assert REMEDIES[kind] in message
    assert "17 bad rows" in message
    written = pl.read_csv(rejects)
    assert written.columns == ["file", "row", "column", "value", "problem", "remedy"]
    assert dict(zip(written["row"].to_list(), written["problem"].to_list(), strict=True)) == {
        row: problem for row, (_, problem) in BAD.items()
    }
    assert written.height == len(BAD)


def test_skipping_leaves_out_just_the_bad_rows_and_says_how_many(
    bad_files: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rejects = tmp_path / "rejects.csv"
    with caplog.at_level(logging.WARNING, logger="flanrec"):
        data = Dataset.from_files(*bad_files, on_bad_rows="skip", rejects=rejects)
    assert data.interactions.height == 200 - len(BAD)
    assert "17 bad rows" in caplog.text
    assert pl.read_csv(rejects).height == len(BAD)
    assert data.interactions["user_id"].dtype == pl.Int64


def test_one_row_may_have_several_problems() -> None:
    with pytest.raises(BadRowsError) as error:
        Dataset.from_frames(
            {"user_id": ["a", None], "item_id": [1, None], "rating": ["4", "x"]}, {"item_id": [1], "title": ["A"]}
        )
    assert error.value.problems["row"].to_list() == [2, 2, 2]
    assert error.value.problems["column"].to_list() == ["user_id", "item_id", "rating"]


def test_bad_items_are_reported_and_their_interactions_too(tmp_path: Path) -> None:
    items = tmp_path / "items.csv"
    items.write_text("item_id,title,description\n1,A,\n1,Again,\n,Nameless,\n2,,only text\n3,,\n4,D,d\n")
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id\n1,1\n1,2\n1,4\n")
    with pytest.raises(BadRowsError) as error:
        Dataset.from_files(log, items)
    found = error.value.problems.select(pl.col("file").str.split("/").list.last(), "row", "problem").rows()
    assert found == [
        ("items.csv", 3, "duplicate item id"),
        ("items.csv", 4, "missing item id"),
        ("items.csv", 5, "item without title"),
        ("items.csv", 6, "item without title and text"),
        ("log.csv", 3, "unknown item"),
    ]
    data = Dataset.from_files(log, items, on_bad_rows="skip")
    assert data.item_ids == [1, 4]
    assert data.interactions["item_id"].to_list() == [1, 4]


def test_a_duplicate_of_a_bad_row_is_not_a_duplicate() -> None:
    items = {"item_id": [1, 1, 1], "title": ["", "A", "B"]}
    data = Dataset.from_frames({"user_id": [1], "item_id": [1]}, items, on_bad_rows="skip")
    assert data.items["title"].to_list() == ["A"]


def test_the_same_item_at_another_time_or_event_is_no_duplicate() -> None:
    events = {"user_id": [1, 1, 1], "item_id": [1, 1, 1], "timestamp": [5, 6, 6], "event": ["see", "see", "buy"]}
    assert Dataset.from_frames(events, {"item_id": [1], "title": ["A"]}).interactions.height == 3


def test_repeated_users_are_reported() -> None:
    users = {"user_id": [1, 1, None], "age": [3, 4, 5]}
    with pytest.raises(BadRowsError) as error:
        Dataset.from_frames({"user_id": [1], "item_id": [1]}, {"item_id": [1], "title": ["A"]}, users)
    assert error.value.problems["problem"].to_list() == ["duplicate user id", "missing user id"]


def test_a_million_rows_do_not_make_a_long_message() -> None:
    count = 5000
    with pytest.raises(BadRowsError) as error:
        Dataset.from_frames({"user_id": [None] * count, "item_id": [1] * count}, {"item_id": [1], "title": ["A"]})
    assert "missing user id (5000)" in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.slow
@pytest.mark.parametrize("quoted", [False, True])
def test_a_million_rows_load_and_validate_in_20_seconds(tmp_path: Path, quoted: bool) -> None:
    rng = np.random.default_rng(0)
    count = 1_000_000
    frame = pl.DataFrame(
        {
            "user_id": rng.integers(0, 50_000, count),
            "item_id": rng.integers(0, 20_000, count),
            "rating": rng.integers(1, 6, count),
            "timestamp": 1_600_000_000 + rng.permutation(count),
        }
    )
    frame.write_csv(tmp_path / "log.csv", quote_style="always" if quoted else "necessary")
    pl.DataFrame({"item_id": range(20_000), "title": [f"Title {item}" for item in range(20_000)]}).write_csv(
        tmp_path / "items.csv"
    )
    start = time.perf_counter()
    data = Dataset.from_files(tmp_path / "log.csv", tmp_path / "items.csv")
    seconds = time.perf_counter() - start
    assert data.interactions.height == count
    assert seconds < 20
