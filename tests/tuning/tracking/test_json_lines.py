from __future__ import annotations

import json
import math
from pathlib import Path

from tiny_run import Run

from flanrec.tuning import Evaluation, JsonLines, Sample, StepRecord


def record(step: int) -> StepRecord:
    return StepRecord(step, 100, "titles", 1.0, 0.5, {"all": 0.1}, 8 * step, 0.0)


def test_json_lines_hold_the_curves_and_the_samples(tmp_path: Path) -> None:
    run = Run(steps=8)
    sample = Sample("What comes next?", ("Alien (1979)",), "Amélie (2001)")
    run.arguments |= {"callbacks": [JsonLines(tmp_path / "logs" / "curves.jsonl")], "samples": lambda: [sample]}
    report = run.trainer().fit()
    lines = [json.loads(line) for line in (tmp_path / "logs" / "curves.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines if line["event"] == "step"] == report.losses
    told = [line for line in lines if line["event"] == "evaluation"]
    assert [line["metrics"] for line in told] == [evaluation.metrics for evaluation in report.evaluations]
    assert told[0]["samples"] == [
        {"prompt": "What comes next?", "predicted": ["Alien (1979)"], "expected": "Amélie (2001)"}
    ]


def test_json_lines_have_each_step_once_after_a_resume(tmp_path: Path) -> None:
    path = tmp_path / "curves.jsonl"
    killed = JsonLines(path)
    for step in (1, 2, 3):
        killed.on_step(record(step))
    killed.on_evaluation(Evaluation(2, {"ndcg": math.nan}, False))
    path.write_text(path.read_text() + '{"event": "step", "st')
    resumed = JsonLines(path)
    resumed.on_evaluation(Evaluation(2, {"ndcg": math.nan}, False))
    resumed.on_step(record(3))
    resumed.on_end(Run(steps=1).trainer().report)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["event"], line["step"]) for line in lines] == [
        ("step", 1), ("step", 2), ("evaluation", 2), ("step", 3),
    ]  # fmt: skip
    assert lines[2]["metrics"] == {"ndcg": None}
