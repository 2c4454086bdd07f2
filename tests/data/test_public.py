"""MovieLens-100K: the same from both sources, checked and cached."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
import pytest

from flanrec.data import cache_dir, fetch, load_dataset, public
from flanrec.data.movielens import GENRES, frames_of_atomic, frames_of_grouplens
from flanrec.errors import DataError, NotFoundError

U_DATA_SHA256 = "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490"


def test_movielens_has_its_known_size_types_and_titles() -> None:
    data = load_dataset("ml-100k")
    assert (data.interactions.height, len(data.user_ids), len(data.item_ids)) == (100_000, 943, 1682)
    assert data.interactions["user_id"].dtype == pl.String
    titles = dict(zip(data.item_ids, data.items["title"].to_list(), strict=True))
    assert titles["1"] == "Toy Story (1995)"
    assert titles["267"] == "unknown"
    assert titles["1412"] == "Land Before Time III: The Time of the Great Giving (1995) (V)"
    assert data.items["year"].null_count() == 1
    assert data.items["category"][0].to_list() == ["Animation", "Children's", "Comedy"]
    assert data.users is not None
    assert data.users.columns == ["user_id", "age", "gender", "occupation", "zip_code"]


def test_events_stand_in_the_order_of_the_original_file() -> None:
    events = load_dataset("ml-100k").interactions
    columns = [events[name].cast(pl.Int64) for name in ("user_id", "item_id", "rating", "timestamp")]
    text = pl.DataFrame(columns).write_csv(separator="\t", include_header=False)
    assert hashlib.sha256(text.encode()).hexdigest() == U_DATA_SHA256


def test_both_sources_give_the_same_tables() -> None:
    data = b"196\t242\t3\t881250949\n186\t302\t3\t891717742\n"
    user = "1|24|M|technician|85711\n"
    flags = {
        "1": ("Toy Story (1995)", {"Animation", "Children's", "Comedy"}),
        "267": ("unknown", {"unknown"}),
        "543": ("Misérables, Les (1995)", {"Drama", "Musical"}),
        "1412": (
            "Land Before Time III: The Time of the Great Giving (1995) (V)",
            {"Animation", "Children's"},
        ),
    }
    lines = [
        "|".join([item, title, "", "", "", *("1" if genre in own else "0" for genre in GENRES)])
        for item, (title, own) in flags.items()
    ]
    original = frames_of_grouplens(data, "\n".join(lines).encode("latin-1"), user.encode())
    atomic = frames_of_atomic(
        b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + data,
        (
            "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
            "1\tToy Story\t1995\tAnimation Children's Comedy\n267\tunkonwn\tunkonwn\tunknown\n"
            "543\tMisérables, Les\t1995\tDrama Musical\n"
            "1412\tLand Before Time III: The Time of the Great Giving (1995)\tV\tAnimation Children's\n"
        ).encode(),
        b"user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n1\t24\tM\ttechnician\t85711\n",
    )
    for table, frame in original.items():
        assert frame.equals(atomic[table]), table
        assert frame.schema == atomic[table].schema


@pytest.fixture
def small_source(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A source of two items beside one that fails; the list records which were asked."""
    asked: list[str] = []

    def unreachable() -> dict[str, pl.DataFrame]:
        asked.append("first")
        raise DataError("no network")

    def small() -> dict[str, pl.DataFrame]:
        asked.append("second")
        return {
            "interactions": pl.DataFrame({"user_id": ["a"], "item_id": ["x"]}),
            "items": pl.DataFrame({"item_id": ["x", "y"], "title": ["X", "Y"], "category": [["c", "d"], []]}),
            "users": pl.DataFrame({"user_id": ["a"]}),
        }

    monkeypatch.setitem(public.SOURCES, "small", [("first", unreachable), ("second", small)])
    monkeypatch.setitem(public.SOURCES, "gone", [("first", unreachable)])
    return asked


def test_the_next_source_is_taken_and_the_cache_asked_first(tmp_path: Path, small_source: list[str]) -> None:
    assert load_dataset("small", cache=tmp_path).item_ids == ["x", "y"]
    assert load_dataset("small", cache=tmp_path).item_ids == ["x", "y"]
    assert small_source == ["first", "second"]


def test_a_damaged_cache_is_fetched_again(tmp_path: Path, small_source: list[str]) -> None:
    folder = fetch("small", cache=tmp_path)
    (folder / "items.parquet").write_bytes(b"cut off")
    assert load_dataset("small", cache=tmp_path).item_ids == ["x", "y"]
    assert small_source.count("second") == 2
    assert [path.name for path in folder.parent.iterdir()] == ["small"]


def test_csv_copies_can_be_written(tmp_path: Path, small_source: list[str]) -> None:
    folder = fetch("small", to=tmp_path / "copy", cache=tmp_path / "cache")
    assert (folder / "items.csv").read_text() == 'item_id,title,category\nx,X,c|d\ny,Y,""\n'


def test_no_source_left_is_a_data_error_with_every_reason(tmp_path: Path, small_source: list[str]) -> None:
    with pytest.raises(DataError, match="no network"):
        load_dataset("gone", cache=tmp_path)


def test_a_changed_download_is_refused() -> None:
    with pytest.raises(DataError, match="SHA-256"):
        public._check(b"other", public.GROUPLENS_SHA256, "there")


def test_an_unknown_name_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="ml-100k"):
        load_dataset("ml-9000")


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLANREC_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
