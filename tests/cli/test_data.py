"""``flanrec data`` prints what the library found and writes files that it reads again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flanrec.cli.data import app
from flanrec.data import BadRowsError, Dataset
from flanrec.errors import SettingsError


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    events = "".join(
        f"u{user},{item},{100 * user + item},{item % 5 + 1}\n" for user in range(4) for item in range(1, 7)
    )
    (tmp_path / "log.csv").write_text("user,item,ts,rating\n" + events)
    titles = "".join(f"{item},Title {item},a|b\n" for item in range(1, 8))
    (tmp_path / "items.csv").write_text("item,name,genres\n" + titles)
    return ["--interactions", str(tmp_path / "log.csv"), "--items", str(tmp_path / "items.csv")]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_describe_prints_json_or_a_table(files: list[str]) -> None:
    facts = json.loads(run("describe", *files, "--json"))
    assert (facts["users"], facts["items"], facts["interactions"]) == (4, 7, 24)
    assert "interactions" in run("describe", *files)


def test_validate_accepts_good_files(files: list[str]) -> None:
    assert "every row is usable" in run("validate", *files)
    assert json.loads(run("validate", *files, "--json")) == {"valid": True, "bad_rows": 0, "problems": {}}


def test_validate_reports_bad_rows_with_exit_code_2(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item,ts\nu1,1,5\n,1,6\nu1,99,7\n")
    rejects = tmp_path / "rejects.csv"
    result = CliRunner().invoke(app, ["validate", *files, "--rejects", str(rejects), "--json"])
    assert result.exit_code == 2
    report = json.loads(result.stdout)
    assert report["problems"] == {"missing user id": 1, "unknown item": 1}
    assert [row["row"] for row in report["rows"]] == [3, 4]
    assert len(rejects.read_text().splitlines()) == 3


def test_bad_rows_stop_other_commands_unless_skipped(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item,ts\nu1,1,5\n,1,6\n")
    with pytest.raises(BadRowsError):
        run("describe", *files)
    assert json.loads(run("describe", *files, "--on-bad-rows", "skip", "--json"))["interactions"] == 1


@pytest.mark.parametrize("form", ["csv", "tsv", "parquet", "jsonl"])
def test_converted_tables_are_read_again_unchanged(files: list[str], tmp_path: Path, form: str) -> None:
    report = json.loads(run("convert", *files, "--to", str(tmp_path / "out"), "--format", form, "--json"))
    again = Dataset.from_files(report["files"]["interactions"], report["files"]["items"])
    before = Dataset.from_files(files[1], files[3])
    assert again.fingerprint() == before.fingerprint()


@pytest.mark.parametrize("rule", ["leave-one-out", "temporal", "cold-items", "new-users", "few-users"])
def test_split_writes_three_parts_that_make_up_the_whole(files: list[str], tmp_path: Path, rule: str) -> None:
    extra = [] if rule == "leave-one-out" else ["--share", "0.25"]
    report = json.loads(run("split", *files, "--to", str(tmp_path / "out"), "--rule", rule, *extra, "--json"))
    assert sum(report[part]["interactions"] for part in ("train", "validation", "test")) == 24
    train = Dataset.from_files(report["train"]["file"], tmp_path / "out" / "items.csv")
    assert train.interactions.height == report["train"]["interactions"]


def test_data_must_be_named_one_way(files: list[str]) -> None:
    with pytest.raises(SettingsError, match="name the data"):
        run("describe")
    with pytest.raises(SettingsError, match="leave out"):
        run("describe", "--data", "ml-100k", *files)


def test_fetch_prints_the_files(tmp_path: Path) -> None:
    report = json.loads(run("fetch", "ml-100k", "--to", str(tmp_path), "--json"))
    assert [Path(path).name for path in report["files"]] == ["interactions.csv", "items.csv", "users.csv"]
    data = Dataset.from_files(*report["files"])
    assert data.interactions.height == 100_000
    assert data.user_ids[0] == 1
