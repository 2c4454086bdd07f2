"""What arrives is put behind what is known, once, in its place in time, or refused."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from flanrec.data import BadRowsError, Dataset
from flanrec.data.arrivals import arrivals, with_changed_items
from flanrec.errors import DataError

ITEM = {"item_id": ["i30"], "title": ["Gneiss Harbour (2010)"], "category": [["Comedy"]], "year": [2010]}


def events(*rows: tuple[str, str, int], **more: list[object]) -> pl.DataFrame:
    users, items, times = zip(*rows, strict=True)
    return pl.DataFrame({"user_id": users, "item_id": items, "timestamp": times, **more})


def test_new_users_items_and_events_come_behind_the_known_ones(small_dataset: Dataset) -> None:
    new = events(("u3", "i30", 2_000_000_000), ("fresh", "i1", 2_000_000_001), rating=[5.0, None])
    users = {"user_id": ["u3", "fresh"], "age": [99, 31], "occupation": ["baker", "baker"]}
    found = arrivals(small_dataset, new, ITEM, users)
    assert found.dataset.item_ids == [*small_dataset.item_ids, "i30"]
    assert (found.items, found.users, found.repeated) == (1, 1, 0)
    assert found.first_row == small_dataset.interactions.height
    assert found.interactions["user_id"].to_list() == ["u3", "fresh"]
    assert found.interactions["row"].to_list() == [found.first_row, found.first_row + 1]
    assert found.dataset.items.row(-1, named=True) == {
        "item_id": "i30", "title": "Gneiss Harbour (2010)", "text": "", "category": ["Comedy"], "year": 2010,
    }  # fmt: skip
    assert found.dataset.users is not None
    told = dict(found.dataset.users.select("user_id", "occupation").iter_rows())
    assert (told["fresh"], told["u3"]) == ("baker", "writer"), "who is known stays as known"
    log = found.dataset.sequences(["u3", "fresh"])
    assert log.of(0)[-1] == 30
    assert log.of(1).tolist() == [1]


def test_the_same_again_is_nothing_new(small_dataset: Dataset) -> None:
    new = events(("u3", "i30", 2_000_000_000), ("fresh", "i1", 2_000_000_001))
    users = {"user_id": ["fresh"], "age": [31], "occupation": ["baker"]}
    once = arrivals(small_dataset, new, ITEM, users)
    twice = arrivals(once.dataset, new, ITEM, users)
    assert not once.nothing
    assert twice.nothing
    assert twice.repeated == 2
    assert twice.dataset.fingerprint() == once.dataset.fingerprint()


def test_an_event_of_another_time_is_another_event(small_dataset: Dataset) -> None:
    known = small_dataset.interactions.row(0, named=True)
    new = events(
        (known["user_id"], known["item_id"], known["timestamp"]),
        (known["user_id"], known["item_id"], known["timestamp"] + 1),
    )
    found = arrivals(small_dataset, new)
    assert (found.interactions.height, found.repeated) == (1, 1)


def test_without_times_a_user_and_an_item_are_an_event() -> None:
    known = Dataset.from_frames({"user_id": [1, 2], "item_id": [7, 8]}, {"item_id": [7, 8], "title": ["A", "B"]})
    found = arrivals(known, {"user_id": ["1", "3"], "item_id": [7, 8]})
    assert found.interactions["user_id"].to_list() == [3]
    assert found.repeated == 1


def test_an_earlier_event_lands_in_its_place(small_dataset: Dataset) -> None:
    # u8 has events at 1,000,000,008 and every 1,000 seconds after.
    found = arrivals(small_dataset, events(("u8", "i29", 1_000_002_500), ("u8", "i28", 1_500_000_000)))
    items = found.dataset.sequences(["u8"]).of(0).tolist()
    assert items.index(29) == 3
    assert items[-1] == 28
    places = found.places(found.dataset)
    assert {user: at.tolist() for user, at in places.items()} == {"u8": [3, len(items) - 1]}
    kept = found.dataset.with_interactions(found.dataset.interactions.filter(pl.col("item_id") != "i28"))
    assert found.places(kept)["u8"].tolist() == [3]


def test_an_item_that_neither_is_known_nor_arrives_is_refused_or_left_out(
    small_dataset: Dataset, tmp_path: Path
) -> None:
    new = events(("u3", "i1", 2_000_000_000), ("u3", "i77", 2_000_000_001))
    with pytest.raises(BadRowsError, match=r"unknown item \(1\)[\s\S]*i77"):
        arrivals(small_dataset, new)
    new.write_csv(tmp_path / "new.csv")
    found = arrivals(small_dataset, tmp_path / "new.csv", on_bad_rows="skip", rejects=tmp_path / "rejects.csv")
    assert found.interactions["item_id"].to_list() == ["i1"]
    assert "i77" in (tmp_path / "rejects.csv").read_text()


def test_events_without_times_beside_those_with_are_refused(small_dataset: Dataset) -> None:
    with pytest.raises(DataError, match="no timestamps, the known ones have"):
        arrivals(small_dataset, {"user_id": ["u3"], "item_id": ["i1"]})


def test_ids_and_columns_of_another_type_are_refused(small_dataset: Dataset) -> None:
    numbered = Dataset.from_frames(
        {"user_id": [1], "item_id": [7], "timestamp": [10]}, {"item_id": [7], "title": ["A"]},
        {"user_id": [1], "age": [30]},
    )  # fmt: skip
    with pytest.raises(DataError, match="ids in user_id are String, the known ones Int64"):
        arrivals(numbered, events(("anna", "7", 20)))
    with pytest.raises(DataError, match="column age of the new users is String, that of the known ones Int64"):
        arrivals(numbered, events(("2", "7", 20)), users={"user_id": [2], "age": ["thirty"]})


def test_a_column_that_the_known_tables_lack_is_left_out_and_said(
    small_dataset: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    plain = Dataset.from_frames(
        small_dataset.interactions.select("user_id", "item_id", "timestamp"),
        small_dataset.items.select("item_id", "title"),
    )
    new = events(("u3", "i30", 2_000_000_000), rating=[4.0])
    found = arrivals(plain, new, ITEM)
    assert found.dataset.interactions.columns == plain.interactions.columns
    assert found.dataset.items.columns == plain.items.columns
    assert "no rating" in caplog.text


def test_users_become_known_where_none_were(unrated_dataset: Dataset) -> None:
    nobody = Dataset.from_frames(unrated_dataset.interactions, unrated_dataset.items)
    found = arrivals(nobody, events(("u3", "i29", 2_000_000_000)), users={"user_id": ["u3"], "age": [30]})
    assert found.dataset.users is not None
    assert found.dataset.users["user_id"].to_list() == ["u3"]
    assert found.users == 0, "u3 has events"


def test_items_with_ids_of_another_type_cannot_change_a_catalogue() -> None:
    known = Dataset.from_frames({"user_id": [1], "item_id": [7]}, {"item_id": [7], "title": ["A"]})
    with pytest.raises(DataError, match="the new ids in item_id are String, the known ones Int64"):
        with_changed_items(known, pl.DataFrame({"item_id": ["x"], "title": ["B"]}))
