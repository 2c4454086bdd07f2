"""Who watches a run, and what tracking libraries are told of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flanrec.backbone.adapters import fingerprint
from flanrec.data import Dataset
from flanrec.distributed.watching import facts_of, watching
from flanrec.recommender import Recommender, RecommenderSettings
from flanrec.tuning import JsonLines, ProgressBar, StepRecord, Tracking, TrainingReport


def test_the_facts_tell_one_run_from_another_and_are_plain(small_dataset: Dataset, fitted: Recommender) -> None:
    facts = facts_of(fitted, small_dataset)
    assert json.loads(json.dumps(facts)) == facts
    assert RecommenderSettings.model_validate(facts["settings"]) == fitted.settings
    assert facts["data"] == {
        "name": "small", "fingerprint": small_dataset.fingerprint(), "users": 40, "items": 30,
        "interactions": small_dataset.interactions.height,
    }  # fmt: skip
    assert facts["backbone"]["fingerprint"] == fingerprint(fitted.backbone)
    assert facts["backbone"]["parameters"] > 70_000_000


def no_facts() -> dict[str, Any]:
    raise AssertionError("nobody wants them")


def test_without_libraries_there_are_a_bar_and_a_file_of_curves_a_stage(tmp_path: Path) -> None:
    with watching(tmp_path, Tracking(), no_facts, resume=False) as told:
        bar, curves = told("item tokens, refit")
    assert isinstance(bar, ProgressBar)
    assert isinstance(curves, JsonLines)
    assert curves.path == tmp_path / "item-tokens-refit.jsonl"


def test_libraries_get_the_facts_and_a_run_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra: pip install 'flanrec[tune]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with watching(tmp_path, Tracking(("tensorboard",)), lambda: {"data": "small"}, resume=False) as told:
        for callback in told("item tokens"):
            callback.on_step(StepRecord(1, 1, "titles", 1.0, 0.5, {"words": 0.1}, 8, 1.0))
            callback.on_end(TrainingReport(steps=1))
    events = EventAccumulator(str(tmp_path / "tensorboard" / "item-tokens"))
    events.Reload()
    assert events.Scalars("loss/titles")[0].value == 1.0
    assert '"data": "small"' in events.Tensors("facts/text_summary")[0].tensor_proto.string_val[0].decode()
