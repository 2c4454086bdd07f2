"""``flanrec ask-next``: questions in every form, the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

if TYPE_CHECKING:
    from conftest import Flanrec, Trained

COLUMNS = {
    "pairs": ["rank", "user_id", "item_id", "title", "probability", "entropy"],
    "users": ["rank", "user_id", "events", "entropy"],
    "items": ["rank", "item_id", "title", "events", "information"],
}


@pytest.mark.parametrize("by", list(COLUMNS))
def test_questions_are_written_and_the_same_every_time(
    flanrec: Flanrec, trained: Trained, tmp_path: Path, by: str
) -> None:
    users = tmp_path / "users.txt"
    users.write_text("3\n7\n12\n999\n")
    command = ["ask-next", "--model", trained.model, "--users-file", users, "--k", 3, "--by", by, "--pool", 8]
    out = tmp_path / "asked.csv"
    said = flanrec(*command, "--out", out, "--json")
    assert said.code == 0, said.err
    assert said.json == {"out": str(out), "by": by, "rows": 3}
    asked = pl.read_csv(out)
    assert asked.columns == COLUMNS[by]
    if by != "items":
        assert set(asked["user_id"]) <= {3, 7, 12, 999}
    assert flanrec(*command, "--json").json[by] == asked.to_dicts()
    if by == "items":
        assert "information" in flanrec(*command).out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--k", "0"], "--k"),
        (["--by", "moods"], "--by"),
        (["--balance", "1.5"], "--balance is 1.5; it must be from 0"),
        (["--pool", "0"], "--pool"),
        (["--users-file", "missing.txt"], "cannot be read"),
        (["--out", "asked.pdf"], "cannot write '.pdf'"),
    ],
)
def test_bad_input_is_refused(flanrec: Flanrec, trained: Trained, arguments: list[str], problem: str) -> None:
    said = flanrec("ask-next", "--model", trained.model, *arguments)
    assert said.code == 2
    assert problem in said.err


def test_a_folder_without_a_model_is_refused(flanrec: Flanrec, tmp_path: Path) -> None:
    said = flanrec("ask-next", "--model", tmp_path / "none")
    assert said.code == 2
    assert "none" in said.err
