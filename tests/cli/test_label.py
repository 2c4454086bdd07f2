"""``flanrec label`` and ``flanrec train --labels``: a round of self-training by files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

if TYPE_CHECKING:
    from conftest import Flanrec, Trained


def test_pairs_that_pass_the_gate_are_written_and_checked_by_their_ratings(
    flanrec: Flanrec, trained: Trained, tmp_path: Path
) -> None:
    pairs, out = tmp_path / "pairs.csv", tmp_path / "labels.csv"
    rows = [f"{user},{item},{5 if item % 2 else 1}" for user in (3, 7) for item in range(118, 128)]
    pairs.write_text("\n".join(["user_id,item_id,rating", *rows, "stranger,104,5"]) + "\n")
    command = ["label", "--model", trained.model, "--pairs", pairs, "--gate", 0.55]
    said = flanrec(*command, "--all", "--out", out, "--json")
    assert said.code == 0, said.err
    labels = pl.read_csv(out)
    assert labels.columns == ["user_id", "item_id", "rating", "weight", "probability", "prompt", "target"]
    assert said.json["rows"] == labels.height == said.json["yes"] + said.json["no"] > 0
    assert said.json["asked"] == 21
    assert not labels["probability"].is_between(0.45001, 0.54999).any()
    assert set(labels["user_id"]) <= {3, 7}
    # What the log has a rating of was learnt, so it tells nothing about the labels.
    log = pl.read_csv(trained.interactions).filter(pl.col("rating").is_not_null())
    open_pairs = pl.read_csv(pairs).filter(pl.col("user_id") != "stranger").with_columns(pl.col("user_id").cast(int))
    unrated = open_pairs.join(log, on=["user_id", "item_id"], how="anti").height
    assert 0 < unrated < 20
    gates = {gate["gate"]: gate["pairs"] for gate in said.json["gates"]}
    assert gates[0.55] == unrated
    shown = flanrec(*command, "--most", 2)
    assert "labels that the ratings beside the pairs confirm" in shown.out
    assert "of 21 pairs labelled" in shown.out


def test_unrated_events_are_labelled_and_learnt_from(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    log = pl.read_csv(trained.interactions)
    half = log.with_columns(rating=pl.when(pl.col("item_id") % 2 == 0).then(pl.col("rating")))
    interactions, users, labels = tmp_path / "log.csv", tmp_path / "users.txt", tmp_path / "labels.csv"
    half.write_csv(interactions)
    users.write_text("3\n7\nnobody\n")
    fast = ["train", "--interactions", interactions, "--items", trained.items, "--preset", "fast", "--backbone",
            "offline", "--device", "cpu"]  # fmt: skip
    assert flanrec(*fast, "--out", tmp_path / "first").code == 0
    said = flanrec("label", "--model", tmp_path / "first", "--users-file", users, "--gate", 0.51, "--all", "--out",
                   labels, "--json")  # fmt: skip
    assert said.code == 0, said.err
    found = pl.read_csv(labels)
    assert found.height == said.json["rows"] > 0
    open_events = half.filter(pl.col("rating").is_null())
    assert found.join(open_events, on=["user_id", "item_id", "timestamp"]).height == found.height
    again = flanrec(*fast, "--labels", labels, "--out", tmp_path / "second")
    assert again.code == 0, again.err
    assert (
        f"labels: {found.height} events got a rating, 0 of {found.height} labels are of no unrated event" in again.err
    )
    stored = [pl.read_parquet(tmp_path / name / "interactions.parquet") for name in ("first", "second")]
    assert stored[1]["rating"].null_count() == stored[0]["rating"].null_count() - found.height


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "say what to label"),
        (["--pairs", "P", "--users-file", "U"], "say what to label"),
        (["--pairs", "P", "--gate", "0.5"], "must be above 0.5"),
        (["--pairs", "P", "--gate", "1.5"], "must be above 0.5"),
        (["--pairs", "P", "--most", "0"], "at most 0 labels"),
        (["--pairs", "P", "--out", "labels.txt"], "cannot write '.txt'"),
        (["--pairs", "missing.csv"], "missing.csv"),
        (["--users-file", "missing.txt"], "cannot be read"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(
    flanrec: Flanrec, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str],
    problem: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("P").with_suffix(".csv").write_text("user_id,item_id\n3,104\n")
    Path("U").with_suffix(".txt").write_text("3\n")
    named = [{"P": "P.csv", "U": "U.txt"}.get(one, one) for one in arguments]
    said = flanrec("label", "--model", trained.model, *named)
    assert said.code == 2
    assert problem in said.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["P.csv", "U.txt"]


def test_an_item_that_is_not_known_is_a_bad_row(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("user_id,item_id\n3,104\n3,999\n")
    command = ["label", "--model", trained.model, "--pairs", tmp_path / "pairs.csv", "--gate", 0.51, "--all"]
    assert "unknown item (1)" in flanrec(*command).err
    assert flanrec(*command, "--on-bad-rows", "skip").code == 0


def test_labels_for_training_need_a_rating(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("user_id,item_id\n3,104\n")
    source = ["--interactions", trained.interactions, "--items", trained.items]
    said = flanrec("train", *source, "--labels", tmp_path / "labels.csv", "--out", tmp_path / "model")
    assert said.code == 2
    assert "lack the column rating" in said.err
