"""``flanrec evaluate`` and ``explain``: numbers with their rules, and reasons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from flanrec.data.dataset import Dataset

if TYPE_CHECKING:
    from conftest import Flanrec, Trained


@pytest.fixture
def held_out(numbered: Dataset, tmp_path: Path) -> Path:
    """For each user the item that their circle brings next; every third of them likes it."""
    last = numbered.interactions.group_by("user_id", maintain_order=True).last()
    last = last.with_columns((pl.col("item_id") - 99) % 28 + 100, rating=pl.col("user_id") % 3 * 2.0 + 1)
    path = tmp_path / "test.csv"
    last.select("user_id", "item_id", "timestamp", "rating").write_csv(path)
    return path


def test_json_has_metrics_definitions_and_the_match(flanrec: Flanrec, trained: Trained, held_out: Path) -> None:
    said = flanrec("evaluate", "--model", trained.model, "--test", held_out, "--k", "5,10", "--json")
    assert said.code == 0, said.err
    told = said.json
    assert told["reading"] == "fused"
    assert 0 <= told["metrics"]["ndcg@5"] <= told["metrics"]["ndcg@10"] <= 1
    report = told["readings"]["fused"]
    assert report["users"] == 40
    assert report["tie_rule"]
    assert report["definitions"]["ndcg"]
    assert told["match"]["model"]["name"] == "match"
    for name in ("auc", "user_auc", "expected_calibration_error"):
        assert name in told["match"]["model"]["metrics"]
        assert name in told["match"]["like_rate_rule"]["metrics"]
    assert told["match"]["model"]["metrics"]["user_auc"] is None, "each user has one rating"
    again = flanrec("evaluate", "--model", trained.model, "--test", held_out, "--k", "5,10", "--json").json
    assert again == told


@pytest.mark.parametrize("reading", ["item_tokens", "generate"])
def test_metrics_are_those_of_the_lists_that_recommend_gives(
    flanrec: Flanrec, trained: Trained, tmp_path: Path, reading: str
) -> None:
    said = flanrec("recommend", "--model", trained.model, "--user", 3, "--user", 4, "--k", 5, "--reading", reading,
                   "--json")  # fmt: skip
    lists = [[row["item_id"] for row in one["items"]] for one in said.json["recommendations"]]
    test = tmp_path / "test.csv"
    test.write_text(f"user_id,item_id\n3,{lists[0][0]}\n4,{lists[1][3]}\n")
    metrics = flanrec("evaluate", "--model", trained.model, "--test", test, "--k", "1,5", "--reading", reading,
                      "--json").json["metrics"]  # fmt: skip
    assert (metrics["hit_rate@1"], metrics["hit_rate@5"]) == (0.5, 1.0)
    assert metrics["mrr@5"] == pytest.approx((1 + 1 / 4) / 2)


def test_each_reading_is_reported_apart(flanrec: Flanrec, trained: Trained, held_out: Path) -> None:
    said = flanrec("evaluate", "--model", trained.model, "--test", held_out, "--k", 3, "--reading", "item_tokens",
                   "--reading", "generate", "--users", 6, "--no-match", "--json")  # fmt: skip
    readings = said.json["readings"]
    assert list(readings) == ["item_tokens", "generate"]
    assert readings["generate"]["metrics"]["valid_rate"] == 1.0
    assert readings["generate"]["metrics"]["duplicate_rate"] == 0.0
    assert readings["generate"]["users"] == 6
    assert "match" not in said.json


def test_tables_say_how_numbers_were_made(flanrec: Flanrec, trained: Trained, held_out: Path) -> None:
    said = flanrec("evaluate", "--model", trained.model, "--test", held_out, "--wishes", "--users", 10)
    assert said.code == 0, said.err
    for words in ("full ranking over the catalogue of 30 items", "like-rate rule", "A wish for one category"):
        assert words in said.out
    assert "AUC by user needs users who have both a yes and a no; there are none" in said.out
    assert "nan" not in said.out.split()


def test_strangers_and_cutoffs_beyond_the_catalogue_are_defined(
    flanrec: Flanrec, trained: Trained, tmp_path: Path
) -> None:
    test = tmp_path / "test.csv"
    test.write_text("user_id,item_id\n3,129\n900,101\n")
    said = flanrec("evaluate", "--model", trained.model, "--test", test, "--k", 50, "--json")
    assert said.code == 0, said.err
    assert said.json["metrics"]["recall@50"] == 1.0
    assert "1 users have no history" in said.json["readings"]["fused"]["notes"][0]
    forced = flanrec("evaluate", "--model", trained.model, "--test", test, "--match")
    assert forced.code == 2
    assert "no ratings" in forced.err


@pytest.mark.parametrize("cutoffs", ["", "0", "5,x", "-1", "1.5"])
def test_cutoffs_are_whole_numbers(flanrec: Flanrec, trained: Trained, held_out: Path, cutoffs: str) -> None:
    said = flanrec("evaluate", "--model", trained.model, "--test", held_out, f"--k={cutoffs}")
    assert said.code == 2
    assert "whole numbers" in said.err


def test_explain_names_events_and_takes_ids_or_titles(flanrec: Flanrec, trained: Trained) -> None:
    by_id = flanrec("explain", "--model", trained.model, "--user", 3, "--item", 129, "--wish", "comedy", "--json")
    assert by_id.code == 0, by_id.err
    titled = flanrec("explain", "--model", trained.model, "--user", 3, "--item", "Fjord Viaduct (2009)", "--wish",
                     "comedy", "--json")  # fmt: skip
    assert titled.json == by_id.json
    words = flanrec("explain", "--model", trained.model, "--history", 101, "--history", 102, "--item", 103)
    assert words.code == 0, words.err
    assert words.out.strip()


def test_explain_refuses_an_unknown_item_and_nobody(flanrec: Flanrec, trained: Trained) -> None:
    assert flanrec("explain", "--model", trained.model, "--user", 3, "--item", "7").code == 2
    assert "--user" in flanrec("explain", "--model", trained.model, "--item", "101").err
