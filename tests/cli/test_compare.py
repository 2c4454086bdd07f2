"""``flanrec compare``: one report, the same every time, and nothing done twice."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

if TYPE_CHECKING:
    from conftest import Answer, Flanrec, Trained


def numbers(said: Answer) -> list[dict[str, Any]]:
    """What is compared, without times."""
    assert said.code == 0, said.err
    return [{name: value for name, value in one.items() if name != "seconds"} for one in said.json["comparisons"]]


def test_closed_form_methods_on_every_split(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    arguments = ["compare", "--interactions", trained.interactions, "--items", trained.items, "--json", "--seed", "7",
                 "--split", "few-users"]  # fmt: skip
    others = [word for rule in ("leave-one-out", "temporal", "cold-items", "new-users") for word in ("--split", rule)]
    said = flanrec(*arguments, *others, "--out", tmp_path / "report.html")
    first = numbers(said)
    assert [one["split"] for one in first] == ["few-users", "leave-one-out", "temporal", "cold-items", "new-users"]
    assert all("give a preset" in " ".join(one["notes"]) for one in first)
    assert {one["reference"] for one in first} == {"blend"}
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!doctype html>")
    rows = {row["name"]: row for row in first[1]["rows"]}
    assert rows["transitions"]["hit_rate@10"]["value"] == 1.0
    assert rows["transitions"]["ndcg@10"]["value"] > rows["popularity"]["ndcg@10"]["value"]
    assert rows["blend"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    again = flanrec(*arguments, "--out", tmp_path / "other.html")
    assert numbers(again) == first[:1]
    assert "measured before" not in again.err


def test_a_killed_comparison_goes_on_and_fits_nothing_twice(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    short = tmp_path / "short.toml"
    short.write_text("[settings]\nvalidation_users = 20\n")
    arguments = ["compare", "--interactions", trained.interactions, "--items", trained.items, "--preset", "fast",
                 "--backbone", "offline", "--device", "cpu", "--config", short, "--noun", "movie", "--reading",
                 "fused", "--sample", 12, "--out", tmp_path / "report.html", "--json"]  # fmt: skip
    first = flanrec(*arguments)
    kinds = [row["kind"] for row in numbers(first)[0]["rows"]]
    assert list(dict.fromkeys(kinds)) == ["reading", "ablation", "source", "peer"]
    assert numbers(first)[0]["reference"] == "fused"
    assert numbers(first)[0]["users"] == 12
    kept = sorted((tmp_path / "report.run" / "rows").iterdir())
    assert len(kept) == len(kinds)
    whole = {path: path.stat().st_mtime_ns for path in (tmp_path / "report.run").rglob("*") if path.is_file()}
    lost = next(path for path in kept if "popularity" in path.name)
    lost.unlink()
    second = flanrec(*arguments)
    assert numbers(second) == numbers(first)
    assert "was fitted before" in second.err
    assert second.err.count("was measured before") == len(kinds) - 1
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "report.run").rglob("*") if path.is_file()}
    assert {path for path in after if after[path] != whole[path]} == {lost}
    assert second.json["comparisons"][0]["seconds"]["fused"] == first.json["comparisons"][0]["seconds"]["fused"]


def test_a_saved_model_stands_for_its_reading_on_leave_one_out(
    flanrec: Flanrec, trained: Trained, tmp_path: Path
) -> None:
    longer = tmp_path / "longer.csv"
    log = pl.read_csv(trained.interactions)
    last = log.group_by("user_id", maintain_order=True).last()
    after = last.with_columns((pl.col("item_id") - 99) % 28 + 100, timestamp=pl.col("timestamp") + 1000)
    pl.concat([log, after.select(log.columns)]).write_csv(longer)
    said = flanrec("compare", "--interactions", longer, "--items", trained.items, "--model", trained.model, "--split",
                   "leave-one-out", "--split", "new-users", "--reading", "item_tokens", "--reference", "transitions",
                   "--sample", 8, "--out", tmp_path / "report.html")  # fmt: skip
    assert said.code == 0, said.err
    assert "item_tokens" in said.out
    assert "no recommender was fitted on this split" in " ".join(said.out.split())
    assert "difference: NDCG@10 against transitions" in said.out


def test_a_model_that_knows_the_answers_is_refused(flanrec: Flanrec, trained: Trained, tmp_path: Path) -> None:
    said = flanrec("compare", "--interactions", trained.interactions, "--items", trained.items, "--model",
                   trained.model, "--out", tmp_path / "report.html")  # fmt: skip
    assert said.code == 2
    assert "knows 40 of 40 events that leave-one-out holds out" in said.err
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "report.pdf"], "ends in .html"),
        (["--out", "report.html", "--split", "random"], "leave-one-out"),
        (["--out", "report.html", "--reference", "absent"], "no row 'absent'"),
        (["--out", "report.html", "--model", "absent"], "absent"),
        (["--out", "report.html", "--runs", "items.csv"], "in the way"),
    ],
)
def test_wrong_usage_is_told(
    flanrec: Flanrec,
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "items.csv").write_text("")
    said = flanrec("compare", "--interactions", trained.interactions, "--items", trained.items, *arguments)
    assert said.code == 2
    assert words in said.err


def test_the_t5_before_tuning_is_a_row_for_each_number_of_examples(
    flanrec: Flanrec, trained: Trained, tmp_path: Path
) -> None:
    short = tmp_path / "short.toml"
    short.write_text("[settings]\nnum_beams = 4\n")
    said = flanrec("compare", "--interactions", trained.interactions, "--items", trained.items, "--shots", 0, "--shots",
                   1, "--backbone", "offline", "--device", "cpu", "--noun", "movie", "--config", short, "--sample", 3,
                   "--out", tmp_path / "report.html", "--json")  # fmt: skip
    rows = {row["name"]: row["kind"] for row in numbers(said)[0]["rows"]}
    assert rows["T5, zero-shot"] == rows["T5, 1 example"] == "untuned"
    assert flanrec("compare", "--data", "ml-100k", "--shots", 99, "--out", tmp_path / "other.html").code == 2
