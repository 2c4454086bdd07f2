"""A run of other processes, seen by its curves."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import pytest

from flanrec.distributed.following import following


def step(number: int) -> str:
    fact = {"event": "step", "step": number, "steps": 4, "objective": "titles", "loss": 1.0 / number,
            "gradient_norm": 1.0, "rates": {}, "examples": 8 * number, "seconds": float(number)}  # fmt: skip
    return json.dumps(fact) + "\n"


def test_each_stage_is_told_as_it_goes_and_what_was_there_before_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="flanrec")
    (tmp_path / "words.jsonl").write_text(step(1) + step(4))
    with following(tmp_path):
        time.sleep(0.2)
        (tmp_path / "item-tokens.jsonl").write_text(step(3) + step(4)[:20])
        time.sleep(0.8)
        assert "step" not in caplog.text
        (tmp_path / "item-tokens.jsonl").write_text(
            step(3) + step(4) + json.dumps({"event": "evaluation", "step": 4, "metrics": {"ndcg@10": 0.25},
                                            "improved": True}) + "\n"
        )  # fmt: skip
    assert "item tokens: step 4 of 4, loss 0.3" in caplog.text
    assert "item tokens: after step 4: ndcg@10 0.2500 (best)" in caplog.text
    assert "words" not in caplog.text


def test_what_workers_make_again_after_a_death_is_told_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="flanrec")
    curve = tmp_path / "words.jsonl"
    with following(tmp_path):
        curve.write_text(step(2) + step(3) + step(4))
        time.sleep(1.2)
        assert caplog.text.count("step 4 of 4") == 1
        curve.write_text(step(2))
        time.sleep(1.2)
        curve.write_text(step(2) + step(3) + step(4))
    assert caplog.text.count("step 4 of 4") == 2
