"""``flanrec recommend`` and ``rank-new``: for whom, what may come, and in which form."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import polars.selectors as cs
import pytest

from flanrec.data.dataset import Dataset

if TYPE_CHECKING:
    from conftest import Flanrec, Trained


def seen_by(dataset: Dataset, user: int) -> set[int]:
    return set(dataset.interactions.filter(pl.col("user_id") == user)["item_id"])


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    (tmp_path / "users.txt").write_text("3\n\n 7 \r\nnobody\n3\n")
    return tmp_path / "users.txt"


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_file_of_users_gives_a_file_of_ranks(
    flanrec: Flanrec, trained: Trained, numbered: Dataset, users_file: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / "new" / f"recs{suffix}"
    said = flanrec("recommend", "--model", trained.model, "--users-file", users_file, "--k", 4, "--out", out)
    assert said.code == 0, said.err
    assert said.out == ""
    assert "1 of 3 users have no history" in said.err
    if suffix == ".parquet":
        table = pl.read_parquet(out)
    elif suffix == ".jsonl":
        table = pl.read_ndjson(out)
    else:
        table = pl.read_csv(out, separator="\t" if suffix == ".tsv" else ",")
    assert table.columns == ["user_id", "item_id", "score", "rank"]
    assert table["user_id"].to_list() == [user for user in ("3", "7", "nobody") for _ in range(4)]
    assert table["rank"].to_list() == [1, 2, 3, 4] * 3
    for user in (3, 7):
        rows = table.filter(pl.col("user_id") == str(user))
        assert not seen_by(numbered, user) & set(rows["item_id"])
        assert rows["score"].is_sorted(descending=True)
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_ids_keep_their_type(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "recs.parquet"
    assert flanrec("recommend", "--model", trained.model, "--user", 3, "--user", 11, "--out", out).code == 0
    assert pl.read_parquet_schema(out) == {
        "user_id": pl.Int64, "item_id": pl.Int64, "score": pl.Float64, "rank": pl.Int64}  # fmt: skip


def test_histories_alone_decide_for_their_users(
    flanrec: Flanrec, trained: Trained, numbered: Dataset, tmp_path: Path
) -> None:
    histories, out = tmp_path / "histories.csv", tmp_path / "recs.csv"
    histories.write_text("user,item,timestamp\nnew,102,20\nnew,101,10\n3,128,10\n")
    said = flanrec("recommend", "--model", trained.model, "--histories", histories, "--k", 100, "--out", out)
    assert said.code == 0, said.err
    table = pl.read_csv(out)
    assert table["user_id"].unique(maintain_order=True).to_list() == ["new", "3"]
    every = set(numbered.items["item_id"])
    assert set(table.filter(pl.col("user_id") == "new")["item_id"]) == every - {101, 102}
    assert set(table.filter(pl.col("user_id") == "3")["item_id"]) == every - {128}
    spoken = flanrec("recommend", "--model", trained.model, "--history", "101", "--history", 102, "--json").json
    best = table.filter(pl.col("user_id") == "new")["item_id"].head(10).to_list()
    assert [row["item_id"] for row in spoken["recommendations"][0]["items"]] == best


def test_unknown_items_of_histories_are_bad_rows(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    histories, out = tmp_path / "histories.csv", tmp_path / "recs.csv"
    histories.write_text("user_id,item_id\na,101\na,strange\nb,9\n")
    command = ["recommend", "--model", trained.model, "--histories", histories, "--k", 3, "--out", out]
    said = flanrec(*command)
    assert said.code == 2
    assert "unknown item (2)" in said.err
    assert flanrec(*command, "--on-bad-rows", "skip").code == 0
    assert pl.read_csv(out)["user_id"].to_list() == ["a"] * 3


def test_titles_make_a_history_and_close_titles_are_offered(flanrec: Flanrec, trained: Trained) -> None:
    said = flanrec("recommend", "--model", trained.model, "--history", "amber harbour (1980)", "--k", 3)
    assert said.code == 0, said.err
    assert "user_id" not in said.out
    assert "Amber Harbour" not in said.out
    wrong = flanrec("recommend", "--model", trained.model, "--history", "Amber Harbor (1980)")
    assert wrong.code == 2
    assert "'Amber Harbour (1980)'" in wrong.err


def test_lists_of_items_open_and_close_the_catalogue(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    only, without = tmp_path / "only.txt", tmp_path / "without.txt"
    only.write_text("128\n129\n127\n")
    without.write_text("129\n")
    said = flanrec("recommend", "--model", trained.model, "--user", 3, "--only-file", only, "--without-file", without,
                   "--seen", "--json")  # fmt: skip
    assert {row["item_id"] for row in said.json["recommendations"][0]["items"]} == {127, 128}
    only.write_text("128\n5\nx\n")
    wrong = flanrec("recommend", "--model", trained.model, "--user", 3, "--only-file", only)
    assert wrong.code == 2
    assert "2 of 3 items are not in the catalogue, such as 5, 'x'" in wrong.err


def test_generation_gives_titles_of_the_catalogue_nobody_has_seen(
    flanrec: Flanrec, trained: Trained, numbered: Dataset
) -> None:
    said = flanrec("recommend", "--model", trained.model, "--user", 3, "--reading", "generate", "--k", 4, "--json",
                   "--wish", "comedy", "--avoid", "drama")  # fmt: skip
    rows = said.json["recommendations"][0]["items"]
    assert len({row["item_id"] for row in rows}) == 4
    assert not {row["item_id"] for row in rows} & seen_by(numbered, 3)
    titles = dict(numbered.items.select("item_id", "title").iter_rows())
    assert all(row["title"] == titles[row["item_id"]] for row in rows)


def test_sources_say_what_each_gave(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "recs.csv"
    said = flanrec("recommend", "--model", trained.model, "--user", 3, "--k", 4, "--wish", "comedy", "--sources",
                   "--out", out)  # fmt: skip
    assert said.code == 0, said.err
    table = pl.read_csv(out)
    assert table.columns[:4] == ["user_id", "item_id", "score", "rank"]
    assert {"from_ease", "from_transitions", "from_words"} <= set(table.columns)
    total = table.select(pl.sum_horizontal(cs.starts_with("from_"))).to_series() - table["score"]
    assert total.max() - total.min() < 1e-3  # type: ignore[operator]
    refused = flanrec("recommend", "--model", trained.model, "--user", 3, "--sources", "--reading", "generate")
    assert refused.code == 2
    assert "no sources to tell apart" in refused.err


def test_somebody_must_be_named_in_one_way(flanrec: Flanrec, trained: Trained, users_file: Path) -> None:
    for extra in ([], ["--user", "3", "--history", "101"], ["--users-file", users_file, "--histories", users_file]):
        said = flanrec("recommend", "--model", trained.model, *extra)
        assert said.code == 2
        assert "say for whom" in said.err


def test_a_file_without_users_gives_an_empty_table(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("\n")
    said = flanrec("recommend", "--model", trained.model, "--users-file", tmp_path / "users.txt", "--out",
                   tmp_path / "recs.csv")  # fmt: skip
    assert said.code == 0
    assert (tmp_path / "recs.csv").read_text() == "user_id,item_id,score,rank\n"


def test_files_that_cannot_be_read_or_written_are_named(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    absent = flanrec("recommend", "--model", trained.model, "--users-file", tmp_path / "absent.txt")
    assert absent.code == 2
    assert "absent.txt" in absent.err
    (tmp_path / "latin.txt").write_bytes(b"3\nJos\xe9\n")
    latin = flanrec("recommend", "--model", trained.model, "--users-file", tmp_path / "latin.txt")
    assert latin.code == 2
    assert "line 2" in latin.err
    form = flanrec("recommend", "--model", trained.model, "--user", 3, "--out", tmp_path / "recs.xlsx")
    assert form.code == 2
    assert ".parquet" in form.err


def test_new_items_are_ranked_and_known_ones_left_out(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    new, out = tmp_path / "new.csv", tmp_path / "recs.csv"
    new.write_text(
        "item_id,title,category\n101,Amber Lantern (1981),Drama\n501,Granite Meadow,Comedy\n502,Hazel Pier,Drama\n"
    )
    said = flanrec("rank-new", "--model", trained.model, "--new-items", new, "--user", 3, "--user", 8, "--k", 9,
                   "--out", out, "--wish", "comedy")  # fmt: skip
    assert said.code == 0, said.err
    table = pl.read_csv(out)
    assert table["user_id"].to_list() == [3, 3, 8, 8]
    assert table["rank"].to_list() == [1, 2, 1, 2]
    assert set(table["item_id"]) == {501, 502}
    shown = flanrec("rank-new", "--model", trained.model, "--new-items", new, "--user", 3)
    assert "Granite Meadow" in shown.out
    new.write_text("item_id,title\n101,Amber Lantern (1981)\n")
    none = flanrec("rank-new", "--model", trained.model, "--new-items", new, "--user", 3)
    assert none.code == 2
    assert "none is new" in none.err
