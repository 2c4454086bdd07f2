from __future__ import annotations

import io
import json
import math

import numpy as np
import pytest
from rich.console import Console

from flanrec.errors import DataError, NotFoundError
from flanrec.evaluation import Metric, Report, comparison_table, evaluate_ranking
from flanrec.metrics.lists import UserItems
from flanrec.metrics.ranking import TIE_RULE


def shown(what: object, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(what)
    return " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]


@pytest.fixture
def report() -> Report:
    ranked = np.array([[0, 1], [2, 3], [1, 0]])
    return evaluate_ranking(ranked, UserItems.from_lists([[1], [], [1]]), n_items=4, ks=[1, 2], name="model [a]")


def test_the_json_is_strict_and_names_metrics_flatly(report: Report) -> None:
    plain = json.loads(report.to_json(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert plain["metrics"]["hit_rate@1"] == 0.5
    assert plain["metrics"]["mrr@2"] == 0.75
    low, high = plain["intervals"]["hit_rate@1"]
    assert 0 <= low <= 0.5 <= high <= 1
    assert "coverage@1" not in plain["intervals"]
    assert plain["tie_rule"] == TIE_RULE
    assert set(plain["definitions"]) == {name.partition("@")[0] for name in plain["metrics"]}
    assert (plain["users"], plain["users_left_out"]) == (2, 1)
    assert plain["bootstrap"] == {"level": 0.95, "resamples": 2000, "seed": 42}


def test_a_number_that_is_not_defined_is_null() -> None:
    report = Report("r", "p", (Metric("auc", math.nan, math.nan, math.nan, 0, "d"),), users=0)
    plain = json.loads(report.to_json())
    assert plain["metrics"] == {"auc": None}
    assert plain["intervals"] == {"auc": [None, None]}
    assert "undefined" in shown(report)


def test_the_table_prints_definitions_exclusions_and_the_tie_rule_even_on_a_narrow_terminal(report: Report) -> None:
    text = shown(report, width=80)
    assert "model [a]" in text
    assert "2 users, 1 left out because they have no relevant item" in text
    assert f"ties: {TIE_RULE}" in text
    assert "95% bootstrap over users, 2000 resamples, seed 42" in text
    for family, definition in report.definitions.items():
        assert f"{family}: {definition}" in text
    assert "0.7500" in text


def test_an_unknown_metric_is_refused_with_the_names_there_are(report: Report) -> None:
    with pytest.raises(NotFoundError, match=r"no metric 'ndcg@7'.*ndcg@1, ndcg@2"):
        report["ndcg@7"]


def test_reports_on_the_same_users_are_compared_user_by_user(report: Report) -> None:
    other = evaluate_ranking(
        np.array([[1, 0], [2, 3], [0, 2]]), UserItems.from_lists([[1], [], [1]]), n_items=4, ks=[1, 2], name="other"
    )
    difference = report.compare(other, "mrr@2")
    assert (difference.count, difference.value) == (2, (0.5 - 1 + 1 - 0) / 2)
    with pytest.raises(NotFoundError, match="no values of 'coverage@1' by user"):
        report.compare(other, "coverage@1")
    fewer = evaluate_ranking(np.array([[1]]), UserItems.from_lists([[1]]), n_items=4, ks=[1])
    with pytest.raises(DataError, match="one value a user from both"):
        report.compare(fewer, "mrr@1")


def test_the_comparison_has_a_row_a_method_and_a_dash_where_a_metric_is_missing(report: Report) -> None:
    bare = Report("popularity", "p", (Metric("mrr@2", 0.1, 0.0, 0.2, 2, "d"),), users=2)
    text = shown(comparison_table([report, bare], ["mrr@2", "hit_rate@1"], title="both"), width=120)
    assert "popularity │ 0.1000 (0.0000 – 0.2000) │ -" in text
    assert "model [a]" in text
