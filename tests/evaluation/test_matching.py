from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from flanrec.evaluation import Report, evaluate_match
from flanrec.evaluation.matching import match_record, match_table
from flanrec.metrics import probability


def test_a_match_report_gives_the_metrics_of_the_pairs_and_intervals_around_them() -> None:
    generator = np.random.default_rng(9)
    users = generator.integers(0, 50, 600)
    truth = generator.random(600)
    labels = (generator.random(600) < truth).astype(int)
    report = evaluate_match(users, labels, truth, resamples=200)
    assert report["auc"] == probability.auc(labels, truth)
    assert report["user_auc"] == probability.user_auc(users, labels, truth)
    assert report["brier"] == pytest.approx(np.mean((truth - labels) ** 2))
    for name in ("auc", "user_auc", "brier", "log_loss"):
        metric = report.metric(name)
        assert metric.low is not None
        assert metric.high is not None
        assert metric.low < metric.value < metric.high
    assert report.metric("auc").count == 50
    assert report["expected_calibration_error"] < 0.08


def test_users_with_one_label_are_left_out_of_user_auc_and_said_so() -> None:
    report = evaluate_match(["a", "a", "b"], [1, 0, 1], [0.9, 0.2, 0.6], resamples=50)
    assert report["user_auc"] == 1.0
    assert report.metric("user_auc").count == 1
    assert report.notes == ("user_auc leaves out 1 users who have only yes or only no",)


def test_no_pairs_give_an_undefined_report() -> None:
    report = evaluate_match([], [], [])
    assert report.users == 0
    assert all(math.isnan(metric.value) for metric in report.metrics)


def shown(reports: list[Report]) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(match_table(reports, "one [event] each"))
    return " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]


def test_an_auc_by_user_that_nobody_has_is_a_dash_with_a_footnote_and_null_in_json() -> None:
    report = evaluate_match(["a", "b", "c", "d"], [1, 0, 1, 0], [0.9, 0.2, 0.6, 0.7], name="m", resamples=50)
    text = shown([report])
    assert "nan" not in text
    assert "one [event] each" in text
    assert "│ – │" in text
    assert "– AUC by user needs users who have both a yes and a no; there are none" in text
    assert text.count("there are none") == 1
    record = json.loads(json.dumps(match_record([report]), allow_nan=False))
    assert record["rows"] == {"m": {"auc": 0.75, "user_auc": None, "ece": report["expected_calibration_error"]}}
    assert record["reports"]["m"]["metrics"]["user_auc"] is None


def test_a_match_table_has_intervals_and_no_footnote_where_all_is_defined() -> None:
    report = evaluate_match([0, 0, 1, 1] * 9, [1, 0, 1, 0] * 9, np.linspace(0.1, 0.9, 36), name="m", resamples=50)
    text = shown([report, report])
    assert text.count(f"{report['auc']:.4f} ({report.metric('auc').low:.4f} – ") == 2
    assert "there are none" not in text


def test_no_pairs_have_a_footnote_for_each_number() -> None:
    assert shown([evaluate_match([], [], [])]).count("there are none") == 3
