"""Lists in parts: those of one call, whole after any kill, no user lost or doubled."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flanrec.data import Dataset
from flanrec.distributed import BatchJob, Worker, parts, read_batch, run_batch
from flanrec.errors import CheckpointError, SettingsError
from flanrec.recommender import Recommender


@pytest.fixture(scope="module")
def model(fitted: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("batch") / "model"
    fitted.save_pretrained(folder)
    return folder


@pytest.fixture
def users(small_dataset: Dataset) -> pl.DataFrame:
    return small_dataset.interactions.select("user_id").unique(maintain_order=True)


def job(model: Path, folder: Path) -> BatchJob:
    return BatchJob(str(model), str(folder), k=5, device="cpu")


def same(found: pl.DataFrame, expected: pl.DataFrame) -> None:
    assert found.select("user_id", "item_id", "rank").equals(expected.select("user_id", "item_id", "rank"))
    assert (found["score"] - expected["score"]).abs().max() < 1e-4


def test_parts_hold_the_lists_of_one_call(
    fitted: Recommender, model: Path, users: pl.DataFrame, tmp_path: Path
) -> None:
    told: list[int] = []
    found = run_batch(job(model, tmp_path / "out"), users, part_size=7, progress=told.append)
    assert found == {"users": 40, "rows": 200, "parts": 6, "answered_before": 0}
    assert told == [0, 7, 7, 7, 7, 7, 5]
    same(read_batch(tmp_path / "out"), fitted.recommend(users=users["user_id"].to_list(), k=5))
    assert not (tmp_path / "out" / "inputs").exists()
    with pytest.raises(SettingsError, match="finished already"):
        run_batch(job(model, tmp_path / "out"), users, part_size=7)


def test_histories_are_all_that_is_known_of_a_user(
    fitted: Recommender, model: Path, small_dataset: Dataset, tmp_path: Path
) -> None:
    events = small_dataset.interactions.filter(pl.col("user_id").is_in(["u1", "u2", "u3"]))
    events = events.group_by("user_id", maintain_order=True).head(3)
    events = events.with_columns((pl.lit("new-") + pl.col("user_id")).alias("user_id"))
    run_batch(job(model, tmp_path / "out"), events, part_size=2)
    found = read_batch(tmp_path / "out")
    assert found["user_id"].unique(maintain_order=True).to_list() == ["new-u1", "new-u2", "new-u3"]
    history = events.filter(pl.col("user_id") == "new-u2")
    alone = fitted.recommend(history=history["item_id"].to_list(), k=5)
    mine = found.filter(pl.col("user_id") == "new-u2")["item_id"].to_list()
    # Without ratings the lone history is a little less told; the head of the list is the same.
    assert len(set(mine) & set(alone["item_id"].to_list())) >= 3
    assert not set(mine) & set(history["item_id"].to_list())


def test_what_was_answered_is_kept_and_the_rest_follows(
    model: Path, users: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Worker.answer

    def failing(self: Worker, part: int) -> int:
        if part == 2:
            raise KeyboardInterrupt
        return answer(self, part)

    monkeypatch.setattr(Worker, "answer", failing)
    with pytest.raises(KeyboardInterrupt):
        run_batch(job(model, tmp_path / "out"), users, part_size=10)
    first = (tmp_path / "out" / "part-000000.parquet").stat().st_mtime_ns
    assert str(tmp_path) not in (tmp_path / "out" / "plan.json").read_text("utf-8")
    monkeypatch.setattr(Worker, "answer", answer)
    with pytest.raises(SettingsError, match="--resume goes on"):
        run_batch(job(model, tmp_path / "out"), users, part_size=10)
    with pytest.raises(SettingsError, match=r"another job \(k differ\)"):
        run_batch(BatchJob(str(model), str(tmp_path / "out"), k=3, device="cpu"), users, part_size=10, resume=True)
    with pytest.raises(CheckpointError):
        read_batch(tmp_path / "out")
    found = run_batch(job(model, tmp_path / "out"), users, part_size=10, resume=True)
    assert found == {"users": 40, "rows": 200, "parts": 4, "answered_before": 2}
    assert (tmp_path / "out" / "part-000000.parquet").stat().st_mtime_ns == first
    assert read_batch(tmp_path / "out")["user_id"].n_unique() == 40


def test_a_kill_before_the_seal_is_survived(
    model: Path, users: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(parts, "write_manifest", killed)
        with pytest.raises(KeyboardInterrupt):
            run_batch(job(model, tmp_path / "out"), users, part_size=20)
    assert run_batch(job(model, tmp_path / "out"), users, part_size=20, resume=True)["answered_before"] == 2
    assert read_batch(tmp_path / "out").height == 200


def test_a_part_of_other_users_is_refused(model: Path, users: pl.DataFrame, tmp_path: Path) -> None:
    done = tmp_path / "done"
    run_batch(job(model, done), users, part_size=20)
    answered = Worker.answer

    def swapped(self: Worker, part: int) -> int:
        count = answered(self, part)
        shutil.copy(done / f"part-{1 - part:06}.parquet", tmp_path / "out" / f"part-{part:06}.parquet")
        return count

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Worker, "answer", swapped)
        with pytest.raises(CheckpointError, match="other users than planned"):
            run_batch(job(model, tmp_path / "out"), users, part_size=20)


def test_other_files_are_left_alone(model: Path, users: pl.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("keep")
    with pytest.raises(SettingsError, match="has other files"):
        run_batch(job(model, tmp_path), users)
    mine = tmp_path / "new" / "inputs" / "mine.csv"
    mine.parent.mkdir(parents=True)
    mine.write_text("keep")
    with pytest.raises(SettingsError, match=r"such as mine\.csv"):
        run_batch(job(model, tmp_path / "new"), users)
    assert mine.read_text() == "keep"
    with pytest.raises(SettingsError, match="at least 1"):
        run_batch(job(model, tmp_path / "out"), users, workers=0)


def test_a_killed_command_goes_on(model: Path, users: pl.DataFrame, tmp_path: Path) -> None:
    listed, out = tmp_path / "users.parquet", tmp_path / "out"
    users.write_parquet(listed)
    command = [sys.executable, "-m", "flanrec", "batch", "--model", model, "--users-file", listed, "--out", out,
               "--k", "5", "--part-size", "1", "--device", "cpu"]  # fmt: skip
    killed = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    give_up = time.monotonic() + 120
    while not list(out.glob("part-*.parquet")) and time.monotonic() < give_up:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    left = len(list(out.glob("part-*.parquet")))
    assert 0 < left < 40
    done = subprocess.run([*map(str, command), "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "200 rows for 40 users" in done.stdout
    found = read_batch(out)
    assert found.height == 200
    assert found.select("user_id", "item_id").is_unique().all()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra 'distributed' is not installed")
def test_ray_survives_a_killed_worker(fitted: Recommender, model: Path, users: pl.DataFrame, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill_one() -> None:
        give_up = time.monotonic() + 300
        while time.monotonic() < give_up and not killed:
            if list((tmp_path / "out").glob("part-*.parquet")):
                running = ray_workers()
                if running:
                    os.kill(running[0], signal.SIGKILL)
                    killed.append(running[0])
            time.sleep(0.05)

    watcher = threading.Thread(target=kill_one, daemon=True)
    watcher.start()
    found = run_batch(job(model, tmp_path / "out"), users, part_size=1, workers=2)
    watcher.join()
    assert killed
    assert (found["users"], found["rows"], found["parts"]) == (40, 200, 40)
    lists = read_batch(tmp_path / "out")
    assert lists.select("user_id", "item_id").is_unique().all()
    same(lists, fitted.recommend(users=users["user_id"].to_list(), k=5))


def ray_workers() -> list[int]:
    """Processes that hold the model for Ray."""
    found: list[int] = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                name: Any = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if name.startswith(b"ray::") and b"Worker" in name:
                found.append(int(folder.name))
    return found
