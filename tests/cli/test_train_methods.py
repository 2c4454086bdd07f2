"""``flanrec train --method``: every way of tuning, and runs that are killed at a random second."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest

import flanrec as package
from flanrec.recommender import Recommender
from flanrec.recommender.settings import WordMethod

if TYPE_CHECKING:
    from conftest import Flanrec, Trained

METHODS: tuple[WordMethod, ...] = get_args(WordMethod)


@pytest.fixture
def log(trained: Trained) -> list[str]:
    return ["--interactions", str(trained.interactions), "--items", str(trained.items), "--config", str(trained.config)]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_tunes_a_model_that_can_be_saved_and_asked(
    flanrec: Flanrec, log: list[str], tmp_path: Path, method: WordMethod
) -> None:
    said = flanrec("train", *log, "--out", tmp_path / "model", "--method", method, "--max-steps", 1, "--json")
    assert said.code == 0, said.err
    told = said.json
    assert told["settings"]["words"]["method"] == method
    assert told["stages"]["words"]["steps"] == told["stages"]["item tokens"]["steps"] == 1
    assert (told["stages"]["words"]["trained"] > 40_000_000) == (method == "full")
    model = Recommender.load(tmp_path / "model", device="cpu")
    for reading in ("fused", "generate"):
        assert model.recommend(users=[1], k=3, reading=reading).height == 3  # type: ignore[arg-type]


def test_a_method_that_would_tune_nothing_is_refused(flanrec: Flanrec, log: list[str], tmp_path: Path) -> None:
    fast = ["--preset", "fast", "--method", "lora", "--out", tmp_path / "model"]
    said = flanrec("train", *log[:4], *fast)
    assert said.code == 2
    assert "--method lora tunes the T5, and words.steps is 0" in said.err


def curve(run: Path) -> tuple[list[dict[str, Any]], float]:
    """Loss, objective and rates of every step, of both stages of tuning, and how many seconds these took."""
    steps, seconds = [], 0.0
    for stage in ("words", "item-tokens"):
        lines = [json.loads(line) for line in (run / f"{stage}.jsonl").read_text().splitlines()]
        steps += [line for line in lines if line["event"] == "step"]
        seconds += steps[-1]["seconds"]
    told = ("step", "objective", "loss", "gradient_norm", "rates")
    return [{name: step[name] for name in told} for step in steps], seconds


@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
@pytest.mark.parametrize(
    ("seed", "method"),
    [
        (1, "full"),
        pytest.param(2, "adalora", marks=pytest.mark.slow),
        pytest.param(3, "prefix-tuning", marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_at_a_random_second_resumes_to_the_same_losses(
    log: list[str], tmp_path: Path, seed: int, method: str
) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(package.__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        "FLANREC_WORDS__STEPS": "14",
        "FLANREC_CHECKPOINT_SECONDS": "0.3",
    }

    def train(out: str, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "flanrec", "train", *log, "--method", method, "--seed", str(seed), *more]
        return subprocess.Popen(
            [*command, "--out", str(tmp_path / out)], env=environment, stderr=subprocess.PIPE, text=True
        )

    with train("whole") as run:
        _, said = run.communicate(timeout=240)
    assert run.returncode == 0, said
    expected, seconds = curve(tmp_path / "whole.run")
    assert len(expected) > 14
    with train("killed") as run:
        # Loading takes a while; it is killed somewhere between the first step and the last.
        deadline = time.monotonic() + 60
        while not (tmp_path / "killed.run" / "words.jsonl").is_file() and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(random.Random(seed).uniform(0.05, 0.9) * seconds)
        run.send_signal(signal.SIGKILL)
        run.communicate(timeout=60)
    assert run.returncode == -signal.SIGKILL
    with train("killed", "--resume") as run:
        _, said = run.communicate(timeout=240)
    assert run.returncode == 0, said
    assert curve(tmp_path / "killed.run")[0] == expected
