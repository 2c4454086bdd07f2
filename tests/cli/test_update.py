"""``flanrec update``: what it learns, what it refuses, and how it goes on after an interruption."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

import flanrec as package
from flanrec.artefact import verify_manifest

if TYPE_CHECKING:
    from conftest import Flanrec, Trained


def walkers(folder: Path, first: int, name: str) -> Path:
    """Twelve new users who walk the circle by way of a new item, in a file."""
    rows = [
        (first + user, 140 if step == 2 else 100 + (3 * user + step) % 28, 1_500_000_000 + 1000 * step + user)
        for user in range(12)
        for step in range(6)
    ]
    pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row").write_csv(folder / name)
    return folder / name


@pytest.fixture(scope="module")
def arrived(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """New users and an item, as files."""
    folder = tmp_path_factory.mktemp("arrived")
    (folder / "items.csv").write_text("item_id,title,category,year\n140,Gneiss Harbour (2020),Comedy,2020\n")
    return ["--interactions", walkers(folder, 900, "new.csv"), "--items", folder / "items.csv"]


@pytest.fixture
def model(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the trained model that a test may replace."""
    assert trained.said.code == 0, trained.said.err
    return Path(shutil.copytree(trained.model, tmp_path / "model"))


def content(folder: Path) -> dict[str, str]:
    """Every file of a folder with its SHA-256."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_model_learns_what_is_new_once_and_nothing_that_spoils_it(
    flanrec: Flanrec, arrived: list[object], model: Path
) -> None:
    before = content(model)
    call = ["update", "--model", model, "--out", model, "--steps", "0", "--seed", "3", "--json"]
    told = flanrec(*call, *arrived, "--passes", "10", "--tokens-rate", "3")
    assert told.code == 0, told.err
    assert (told.json["accepted"], told.json["changed"]) == (True, True)
    assert (told.json["interactions"], told.json["users"], told.json["items"]) == (72, 12, 1)
    assert {check["reading"] for check in told.json["checks"]} == {"fused", "item_tokens"}
    assert told.json["stages"]["item tokens"]["steps"] == 8
    assert verify_manifest(model)["kind"] == "recommender"
    now = content(model)
    assert now != before
    lists = flanrec("recommend", "--model", model, "--user", "903", "--user", "1", "--k", "31", "--json")
    offered = {one["user_id"]: {row["item_id"] for row in one["items"]} for one in lists.json["recommendations"]}
    assert 140 in offered[1]
    assert 140 not in offered[903], "they had it"
    run = model.with_name("model.update")
    assert {path.name for path in run.rglob("*") if path.is_file()} == {"item-tokens.jsonl"}

    again = flanrec(*call, *arrived)
    assert (again.json["accepted"], again.json["changed"], again.json["repeated"]) == (True, False, 72)
    assert content(model) == now
    said = flanrec("update", "--model", model, "--out", model.with_name("copy"), *arrived)
    assert "nothing is new" in said.out
    assert verify_manifest(model.with_name("copy"))["kind"] == "recommender"

    more = ["--interactions", walkers(model.parent, 950, "more.csv"), "--penalty", "none"]
    spoiled = flanrec(*call, *more, "--tokens-rate", "2000", "--passes", "1")
    assert spoiled.code == 0, spoiled.err
    assert (spoiled.json["accepted"], spoiled.json["model"]) == (False, str(model))
    assert content(model) == now, "it stays to the byte"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("user_id,item_id,timestamp\n1,140,1500000000\n", "unknown item (1)"),
        ("user_id,timestamp\n1,1500000000\n", "item_id"),
        ("user_id,item_id\n1,101\n", "no timestamps, the known ones have"),
        ("user_id,item_id,timestamp\nanna,101,1500000000\n", "ids in user_id are String"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(
    flanrec: Flanrec, trained: Trained, tmp_path: Path, text: str, told: str
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text(text)
    said = flanrec("update", "--model", trained.model, "--interactions", bad, "--out", tmp_path / "model")
    assert said.code == 2
    assert told in said.err
    assert list(tmp_path.iterdir()) == [bad]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--replay", "1.5"], "replay is 1.5"),
        (["--tolerance", "-1"], "gate.tolerance is -1"),
        (["--runs", "MODEL/run"], "inside"),
    ],
)
def test_settings_that_cannot_work_are_told_first(
    flanrec: Flanrec, trained: Trained, tmp_path: Path, options: list[str], told: str
) -> None:
    options = [option.replace("MODEL", str(tmp_path / "model")) for option in options]
    said = flanrec(
        "update",
        "--model",
        trained.model,
        "--interactions",
        trained.interactions,
        "--out",
        tmp_path / "model",
        *options,
    )
    assert said.code == 2
    assert told in said.err


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_killed_it_leaves_the_model_whole_and_resumes(arrived: list[object], model: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(package.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        "FLANREC_PASSES": "12",
    }
    options = [*map(str, arrived), "--steps", "2", "--json"]
    command = [sys.executable, "-m", "flanrec", "update", "--model", str(model), "--out", str(model), *options]
    curve = model.with_name("model.update") / "item-tokens.jsonl"
    before = content(model)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        deadline = time.monotonic() + 200
        while not curve.is_file() and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        run.send_signal(signal.SIGKILL)
        run.communicate(timeout=120)
    assert content(model) == before
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    done = subprocess.run([*command, "--resume"], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["accepted"]
    assert content(model) != before
    assert not list(model.with_name("model.update").glob("*/checkpoints"))
