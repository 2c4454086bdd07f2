from __future__ import annotations

import math

import numpy as np
import pytest

from flanrec.evaluation import evaluate_match
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
