"""``flanrec search``: what it writes, what it refuses, and what an interruption leaves."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from flanrec.cli.config import build_settings
from flanrec.recommender import RecommenderSettings

if TYPE_CHECKING:
    from conftest import Flanrec, Trained


@pytest.fixture
def log(trained: Trained) -> list[object]:
    return ["--interactions", trained.interactions, "--items", trained.items, "--backbone", "offline",
            "--device", "cpu", "--preset", "fast", "--noun", "movie", "--seed", "5"]  # fmt: skip


def test_it_writes_settings_that_train_takes_and_a_row_a_trial(
    flanrec: Flanrec, log: list[object], tmp_path: Path
) -> None:
    out = tmp_path / "found"
    said = flanrec("search", *log, "--out", out, "--minutes", "5", "--trials", "2", "--json")
    assert said.code == 0, said.err
    told = said.json
    assert told == json.loads((out / "search.json").read_text())
    assert (len(told["trials"]), told["stopped"], told["users"]) == (2, "trials", 40)
    assert told["best"]["ndcg@10"] >= told["start"] == told["trials"][0]["ndcg@10"]
    assert told["gain"]["low"] <= told["gain"]["value"] <= told["gain"]["high"]
    assert "flanrec evaluate" in told["caution"]
    assert (told["reading"], told["importances"]) == ("fused", {})
    assert [(trial["given_up"], trial["curve"]) for trial in told["trials"]] == [("", [])] * 2
    assert pl.read_csv(out / "curves.csv").height == 0
    assert "RDB" not in said.err
    table = pl.read_csv(out / "trials.csv")
    assert table.columns[:3] == ["trial", "ndcg@10", "seconds"]
    assert table["ndcg@10"].to_list() == pytest.approx([trial["ndcg@10"] for trial in told["trials"]])
    assert pl.read_csv(out / "per_user.csv")["trial_1"].mean() == pytest.approx(told["trials"][1]["ndcg@10"])
    best = build_settings("fast", out / "best.toml", {}, {})
    assert (best.noun, best.seed) == ("movie", 5)
    assert {name: getattr(best.fusion, name.removeprefix("fusion.")) for name in told["best"]["settings"]} == (
        told["best"]["settings"]
    )
    assert tomllib.loads((out / "best.toml").read_text())["train"] == {"preset": "fast", "backbone": "offline"}

    files = log[: log.index("--backbone")]
    trained = flanrec("train", *files, "--config", out / "best.toml", "--out", tmp_path / "model", "--json")
    assert trained.code == 0, trained.err
    assert RecommenderSettings.model_validate(trained.json["settings"]) == best


def test_an_interruption_leaves_the_best_so_far_and_resume_goes_on(
    flanrec: Flanrec, log: list[object], tmp_path: Path
) -> None:
    out = tmp_path / "found"

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not (out / "search.json").is_file() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    hand = threading.Thread(target=interrupt)
    hand.start()
    said = flanrec("search", *log, "--out", out, "--minutes", "5")
    hand.join()
    assert said.code == 130
    assert said.out == ""
    assert f"best settings so far are in {out / 'best.toml'}" in said.err
    kept = pl.read_csv(out / "trials.csv")
    assert build_settings("fast", out / "best.toml", {}, {}).noun == "movie"

    done = flanrec("search", *log, "--out", out, "--minutes", "5", "--resume", "--trials", kept.height + 1)
    assert done.code == 0, done.err
    assert pl.read_csv(out / "trials.csv").head(kept.height).equals(kept)
    assert "stopped: all trials are done" in done.out
    assert "looks better on the events it was chosen by" in done.out


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ('[space."fusion.dept"]\nlow = 1\nhigh = 9\n', "the nearest are fusion.depth"),
        ('[space."fusion.depth"]\nlow = 9\nhigh = 1\n', "fusion.depth: the range from 9 to 1"),
        ('[space."fusion.depth"]\nlow = 0\nhigh = 9\n', "fusion.depth cannot be 0"),
    ],
)
def test_a_space_that_cannot_be_searched_ends_with_2(
    flanrec: Flanrec, log: list[object], tmp_path: Path, space: str, words: str
) -> None:
    (tmp_path / "space.toml").write_text(space)
    said = flanrec("search", *log, "--out", tmp_path / "out", "--minutes", "1", "--space", tmp_path / "space.toml")
    assert said.code == 2
    assert words in said.err
    assert not (tmp_path / "out").exists()


def test_wrong_usage_ends_with_2(flanrec: Flanrec, log: list[object], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert "is a file" in flanrec("search", *log, "--out", tmp_path / "file", "--minutes", "1").err
    assert "--minutes" in flanrec("search", *log, "--out", tmp_path / "out").err
    own = flanrec("search", *log, "--out", tmp_path / "out", "--minutes", "1", "--reading", "generate")
    assert (own.code, "fast tunes nothing that generate reads" in own.err) == (2, True)
    zero = flanrec("search", *log, "--out", tmp_path / "out", "--minutes", "0")
    assert (zero.code, "minutes is 0" in zero.err) == (2, True)


def test_without_optuna_the_extra_is_named_before_any_work(
    flanrec: Flanrec, log: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    said = flanrec("search", *log, "--out", tmp_path / "out", "--minutes", "1")
    assert (said.code, said.err) == (2, "flanrec: Optuna is not installed: pip install 'flanrec[search]'.\n")
    assert not (tmp_path / "out").exists()


def test_the_language_models_own_lists_can_be_what_is_measured(
    flanrec: Flanrec, log: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"WORDS__STEPS": 2, "WORDS__BATCH_SIZE": 1, "VALIDATION_USERS": 4, "SEARCH_NODES": 0}.items():
        monkeypatch.setenv(f"FLANREC_{name}", str(value))
    monkeypatch.setenv("FLANREC_NUM_BEAMS", "2")
    space, out = tmp_path / "space.toml", tmp_path / "found"
    space.write_text(
        '[space."words.method"]\nchoices = ["ia3", "lora"]\n\n'
        '[space."words.rank"]\nlow = 1\nhigh = 2\nwhen = { "words.method" = ["lora"] }\n'
    )
    log[log.index("fast")] = "balanced"
    said = flanrec("search", *log, "--out", out, "--minutes", "5", "--trials", "2", "--space", space,
                   "--reading", "generate")  # fmt: skip
    assert said.code == 0, said.err
    told = json.loads((out / "search.json").read_text())
    assert told["metric"].startswith("ndcg@10 of the reading generate")
    first, second = (trial["settings"] for trial in told["trials"])
    assert first == {"words.method": "full"}
    assert ("words.rank" in second) == (second["words.method"] == "lora")
    assert [point["share"] for point in told["trials"][0]["curve"]] == [0.5, 1.0]
    assert "what matters is said from 10 measured trials on" in said.out
    assert tomllib.loads((out / "best.toml").read_text())["settings"]["words"]["evaluate_every"] == 1
