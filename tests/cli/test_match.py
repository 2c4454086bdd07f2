"""``flanrec match``: pairs come back in order, with a probability."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from conftest import Flanrec, Trained


def test_pairs_keep_their_rows_columns_and_texts(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    pairs, out = tmp_path / "pairs.csv", tmp_path / "scores.csv"
    pairs.write_text("note,user,item\n007,3,104\nb,stranger,104\nc,1,129\n007,3,104\n")
    said = flanrec("match", "--model", trained.model, "--pairs", pairs, "--out", out)
    assert said.code == 0, said.err
    table = pl.read_csv(out, infer_schema=False)
    assert table.columns == ["note", "user", "item", "probability"]
    assert table.drop("probability").equals(pl.read_csv(pairs, infer_schema=False))
    chances = table["probability"].cast(pl.Float64)
    assert chances.is_between(0, 1).all()
    assert chances[0] == chances[3]


def test_a_pair_has_the_same_probability_in_any_company(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "all.jsonl").write_text(
        "".join(f'{{"user_id": {u}, "item_id": {i}}}\n' for u in (1, 2) for i in (101, 120))
    )
    (tmp_path / "one.tsv").write_text("user_id\titem_id\n2\t120\n")
    every = flanrec("match", "--model", trained.model, "--pairs", tmp_path / "all.jsonl", "--json").json["pairs"]
    one = flanrec("match", "--model", trained.model, "--pairs", tmp_path / "one.tsv", "--json").json["pairs"]
    assert abs(every[3]["probability"] - one[0]["probability"]) < 1e-4


def test_unusable_pairs_are_reported_all_at_once(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    pairs, out = tmp_path / "pairs.csv", tmp_path / "scores.csv"
    pairs.write_text("user_id,item_id\n3,104\n,104\n3,\n3,x\n3,9\n")
    command = ["match", "--model", trained.model, "--pairs", pairs, "--out", out, "--rejects", tmp_path / "bad.csv"]
    said = flanrec(*command)
    assert said.code == 2
    for problem in ("missing user id (1)", "missing item id (1)", "unknown item (2)"):
        assert problem in said.err
    assert not out.exists()
    assert flanrec(*command, "--on-bad-rows", "skip").code == 0
    assert pl.read_csv(out).height == 1
    assert pl.read_csv(tmp_path / "bad.csv")["row"].to_list() == [3, 4, 5, 6]


def test_a_missing_column_is_named(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("user_id,thing\n3,104\n")
    said = flanrec("match", "--model", trained.model, "--pairs", tmp_path / "pairs.csv")
    assert said.code == 2
    assert "no column for item_id" in said.err
