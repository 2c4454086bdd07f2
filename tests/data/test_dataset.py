"""Loading: names of columns, types of ids, times, categories, sequences."""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.data import Dataset, load_interactions, load_items
from flanrec.errors import DataError, SettingsError

ITEMS = {"item_id": [1, 2, 3], "title": ["A", "B", "C"]}


def files(folder: Path, interactions: str, items: str = "item_id,title\n1,A\n2,B\n3,C\n") -> tuple[Path, Path]:
    (folder / "log.csv").write_text(interactions)
    (folder / "items.csv").write_text(items)
    return folder / "log.csv", folder / "items.csv"


@pytest.mark.parametrize(
    "header", ["userId,movieId,timestamp", "user,item,ts", "uid,asin,unixReviewTime", "User ID,product_id,datetime"]
)
def test_usual_names_of_columns_are_understood(tmp_path: Path, header: str) -> None:
    data = Dataset.from_files(*files(tmp_path, f"{header}\n7,1,100\n7,2,200\n"))
    assert data.interactions.select("user_id", "item_id", "timestamp").rows() == [(7, 1, 100), (7, 2, 200)]


def test_a_missing_column_is_named_with_those_found_and_those_accepted(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        Dataset.from_files(*files(tmp_path, "who,item_id\n7,1\n"))
    message = str(error.value)
    assert "log.csv" in message
    assert "Columns found: who, item_id" in message
    assert "user, uid" in message


@pytest.mark.parametrize(
    ("users", "expected"),
    [(["5", "6"], [5, 6]), (["5", "x"], ["5", "x"]), (["005", "6"], ["005", "6"]), (["-1", "0"], [-1, 0])],
)
def test_ids_of_a_csv_are_integers_only_if_all_are_written_as_such(
    tmp_path: Path, users: list[str], expected: list[object]
) -> None:
    data = Dataset.from_files(*files(tmp_path, "user_id,item_id\n" + "".join(f"{user},1\n" for user in users)))
    assert data.user_ids == expected


@pytest.mark.parametrize("dtype", [pl.Int16, pl.Int32, pl.Int64, pl.UInt32, pl.String])
def test_ids_of_frames_keep_their_type(dtype: type[pl.DataType]) -> None:
    events = pl.DataFrame({"user_id": ["2", "1"], "item_id": ["1", "3"]}).cast(dtype)
    items = pl.DataFrame(ITEMS).with_columns(pl.col("item_id").cast(dtype))
    data = Dataset.from_frames(events, items)
    assert data.interactions["user_id"].dtype == dtype
    assert data.interactions["item_id"].dtype == dtype
    assert data.sequences().items.tolist() == [2, 0]


def test_ids_that_are_numbers_in_one_table_and_text_in_the_other_still_meet(tmp_path: Path) -> None:
    events, items = files(tmp_path, "user_id,item_id\n1,1\n1,2\n", "item_id,title\n1,A\n2,B\nx,C\n")
    data = Dataset.from_files(events, items)
    assert data.item_ids == ["1", "2", "x"]
    assert data.interactions["item_id"].to_list() == ["1", "2"]


def test_fractional_ids_are_refused() -> None:
    with pytest.raises(DataError, match="cannot be an id"):
        Dataset.from_frames({"user_id": [1.5], "item_id": [1]}, ITEMS)


def test_whole_float_ids_with_gaps_become_integers() -> None:
    data = Dataset.from_frames({"user_id": [1.0, None], "item_id": [1, 2]}, ITEMS, on_bad_rows="skip")
    assert data.user_ids == [1]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2024-05-01T12:00:00Z", 1714564800),
        ("2024-05-01 12:00:00", 1714564800),
        ("2024-05-01T14:00:00+02:00", 1714564800),
        ("2024-05-01T12:00:00.250", 1714564800.25),
        ("2024-05-01", 1714521600),
        ("1714564800", 1714564800),
        ("1714564800.5", 1714564800.5),
    ],
)
def test_times_are_read_to_seconds(tmp_path: Path, written: str, seconds: float) -> None:
    data = Dataset.from_files(*files(tmp_path, f"user_id,item_id,time\n1,1,{written}\n"))
    assert data.interactions["timestamp"].to_list() == [seconds]


@pytest.mark.parametrize(("factor", "unit"), [(10**3, "milli"), (10**6, "micro"), (10**9, "nano")])
def test_a_column_in_another_unit_is_converted_and_logged(
    factor: int, unit: str, caplog: pytest.LogCaptureFixture
) -> None:
    times = [1_700_000_000 * factor, 1_700_000_100 * factor]
    with caplog.at_level(logging.INFO, logger="flanrec"):
        data = Dataset.from_frames({"user_id": [1, 1], "item_id": [1, 2], "timestamp": times}, ITEMS)
    assert data.interactions["timestamp"].to_list() == [1_700_000_000, 1_700_000_100]
    assert unit in caplog.text


def test_datetime_columns_are_read_to_seconds() -> None:
    moment = dt.datetime(2024, 5, 1, 12)
    data = Dataset.from_frames({"user_id": [1], "item_id": [1], "timestamp": [moment]}, ITEMS)
    assert data.interactions["timestamp"].to_list() == [1714564800]


def test_without_times_the_order_of_rows_is_the_order_of_events() -> None:
    data = Dataset.from_frames({"user_id": [1, 2, 1], "item_id": [3, 1, 1]}, ITEMS)
    assert data.interactions["timestamp"].to_list() == [None, None, None]
    assert data.sequences().of(0).tolist() == [2, 0]
    assert np.isnan(data.sequences().timestamps).all()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Action|Sci-Fi", ["Action", "Sci-Fi"]),
        ("Action; Sci-Fi", ["Action", "Sci-Fi"]),
        ('"Action, Sci-Fi"', ["Action", "Sci-Fi"]),
        ("\"['Action', 'Sci-Fi']\"", ["Action", "Sci-Fi"]),
        ("Health & Care|Health & Care", ["Health & Care"]),
        ("(no genres listed)", []),
        ("", []),
    ],
)
def test_categories_are_split_and_without_repetition(tmp_path: Path, written: str, expected: list[str]) -> None:
    _, items = files(tmp_path, "user_id,item_id\n", f"item_id,title,genres\n1,A,{written}\n")
    assert load_items(items)["category"].to_list() == [expected]


def test_atomic_categories_are_split_at_spaces_and_titles_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.item"
    path.write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n1\tToy Story\t1995\tA B\n"
    )
    assert load_items(path).rows() == [("1", "Toy Story", "", ["A", "B"], 1995)]


def test_lists_in_json_lines_are_joined_or_flattened(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"asin": "B1", "title": "X", "description": ["a", "b"], "categories": [["Books", "SF"], ["Old"]]}\n'
    )
    assert load_items(path).rows() == [("B1", "X", "a b", ["Books", "SF", "Old"])]


def test_a_log_without_rows_takes_the_id_type_of_the_catalogue(tmp_path: Path) -> None:
    data = Dataset.from_files(*files(tmp_path, "user_id,item_id\n"))
    assert data.item_ids == [1, 2, 3]
    assert data.interactions["item_id"].dtype == pl.Int64


def test_an_item_without_a_title_column_takes_the_first_words_of_its_text() -> None:
    text = " ".join(str(number) for number in range(20))
    data = Dataset.from_frames({"user_id": [1], "item_id": [1]}, {"item_id": [1], "description": [text]})
    assert data.items["title"].to_list() == ["0 1 2 3 4 5 6 7 8 9 10 11"]


def test_other_columns_stay_as_attributes() -> None:
    users = {"user_id": [1, 2], "age": [30, 40], "name": ["X", "Y"]}
    items = {**ITEMS, "brand": ["x", "y", "z"]}
    data = Dataset.from_frames({"user_id": [1], "item_id": [1]}, items, users)
    assert data.users is not None
    assert data.users.columns == ["user_id", "age", "name"]
    assert data.items["brand"].to_list() == ["x", "y", "z"]


def test_reviews_are_read_and_checked_against_the_catalogue() -> None:
    reviews = {"user_id": [1, 1, 1], "item_id": [1, 2, 9], "reviewText": ["good", "", "odd"], "overall": [5, 4, 3]}
    with pytest.raises(DataError) as error:
        Dataset.from_frames({"user_id": [1], "item_id": [1]}, ITEMS, reviews=reviews)
    assert "review without text" in str(error.value)
    assert "unknown item" in str(error.value)
    data = Dataset.from_frames({"user_id": [1], "item_id": [1]}, ITEMS, reviews=reviews, on_bad_rows="skip")
    assert data.reviews is not None
    assert data.reviews.rows() == [(1, 1, "good", 5.0)]


def test_sequences_of_asked_users_in_their_order_with_unknown_ones_empty() -> None:
    data = Dataset.from_frames({"user_id": [1, 2, 1], "item_id": [1, 2, 3], "rating": [5, 4, None]}, ITEMS)
    sequences = data.sequences([2, 99, 1, "1"])
    assert [sequences.of(user).tolist() for user in range(len(sequences))] == [[1], [], [0, 2], []]
    assert sequences.ratings.tolist()[:2] == [4.0, 5.0]
    assert np.isnan(sequences.ratings[2])


def test_text_ids_that_are_numbers_are_ordered_by_number() -> None:
    data = Dataset.from_frames({"user_id": ["10", "9"], "item_id": [1, 1]}, ITEMS)
    assert data.user_ids == ["9", "10"]


def test_histories_can_be_read_alone(tmp_path: Path) -> None:
    path, _ = files(tmp_path, "user_id,item_id\nnew,1\nnew,9\n")
    assert load_interactions(path)["item_id"].to_list() == [1, 9]
    texts = load_interactions(path, pl.Series(["1", "2"]), on_bad_rows="skip")
    assert texts["item_id"].to_list() == ["1"]


def test_the_fingerprint_follows_the_content_and_not_the_name() -> None:
    events = {"user_id": [1, 1], "item_id": [1, 2]}
    first = Dataset.from_frames(events, ITEMS, name="a").fingerprint()
    assert Dataset.from_frames(events, ITEMS, name="b").fingerprint() == first
    assert Dataset.from_frames({**events, "rating": [1, 2]}, ITEMS).fingerprint() != first


def test_describe_counts() -> None:
    data = Dataset.from_frames({"user_id": [1, 1, 2], "item_id": [1, 2, 1], "rating": [1, 3, 5]}, ITEMS)
    facts = data.describe()
    assert (facts["users"], facts["items"], facts["interactions"]) == (2, 3, 3)
    assert facts["items_with_interactions"] == 2
    assert facts["density"] == pytest.approx(0.5)
    assert facts["rating"] == {"mean": 3.0, "min": 1.0, "max": 5.0}


def test_empty_tables_make_an_empty_data_set() -> None:
    data = Dataset.from_frames({"user_id": [], "item_id": []}, {"item_id": [], "title": []})
    assert data.item_ids == []
    assert data.user_ids == []
    assert len(data.sequences()) == 0
    assert data.describe()["density"] == 0.0


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(SettingsError, match="skip"):
        Dataset.from_frames({"user_id": [1], "item_id": [1]}, ITEMS, on_bad_rows="ignore")  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 3)), unique=True, max_size=40))
def test_sequences_hold_every_event_in_order(events: list[tuple[int, int, int]]) -> None:
    frame = pl.DataFrame(events, schema={"user_id": pl.Int64, "item_id": pl.Int64, "timestamp": pl.Int64}, orient="row")
    data = Dataset.from_frames(frame, {"item_id": range(6), "title": list("abcdef")})
    sequences = data.sequences()
    for index, user in enumerate(sequences.user_ids):
        own = [(time, row, item) for row, (who, item, time) in enumerate(events) if who == user]
        assert sequences.of(index).tolist() == [item for _, _, item in sorted(own)]
