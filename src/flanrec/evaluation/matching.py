"""From probabilities of a yes to a report: do they order the pairs, and do they mean what they say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.markup import escape
from rich.table import Table

from flanrec.evaluation.protocol import definition
from flanrec.evaluation.report import Metric, Report
from flanrec.metrics import probability
from flanrec.metrics.intervals import bootstrap_interval, bootstrap_statistic

_COLUMNS = {
    "auc": ("AUC", "a yes and a no among the pairs"),
    "user_auc": ("AUC by user", "users who have both a yes and a no"),
    "expected_calibration_error": ("calibration error", "pairs"),
}
"""Of `match_table`: metric to heading, and to what it is not defined without."""


def evaluate_match(
    users: npt.ArrayLike,
    labels: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    *,
    name: str = "match",
    seed: int = 42,
    resamples: int = 500,
    level: float = 0.95,
) -> Report:
    """Evaluate probabilities of a yes on held-out pairs; intervals draw users, each with all their pairs.

    Parameters
    ----------
    users
        ``[n]`` user of each pair.
    labels, probabilities
        ``[n]`` of 0/1, and of numbers in [0, 1].
    """
    names, yes, given = np.asarray(users), np.asarray(labels), np.asarray(probabilities)
    by_user = probability.auc_by_user(names, yes, given)
    within = bootstrap_interval(by_user, seed, resamples, level)
    pooled: dict[str, Callable[[npt.ArrayLike, npt.ArrayLike], float]] = {
        "auc": probability.auc,
        "expected_calibration_error": probability.expected_calibration_error,
        "brier": probability.brier,
        "log_loss": probability.log_loss,
    }
    metrics = [Metric("user_auc", within.value, within.low, within.high, within.count, definition("user_auc"))]
    for metric, statistic in pooled.items():

        def of_rows(
            rows: npt.NDArray[np.int64], statistic: Callable[[npt.ArrayLike, npt.ArrayLike], float] = statistic
        ) -> float:
            return statistic(yes[rows], given[rows])

        drawn = bootstrap_statistic(of_rows, names, seed, resamples, level)
        metrics.append(Metric(metric, drawn.value, drawn.low, drawn.high, drawn.count, definition(metric)))
    one_sided = int(np.isnan(by_user).sum())
    notes = (f"user_auc leaves out {one_sided} users who have only yes or only no",) if one_sided else ()
    return Report(
        name=name,
        protocol=f"{len(names)} held-out pairs, {np.mean(yes):.1%} of them yes" if len(names) else "no held-out pairs",
        metrics=tuple(metrics),
        users=len(by_user),
        tie_rule="equal probabilities count one half in the AUCs",
        level=level,
        resamples=resamples,
        seed=seed,
        notes=notes,
        per_user={"user_auc": by_user},
    )


def match_table(reports: Sequence[Report], title: str = "") -> Table:
    """Return a table of reports of `evaluate_match`: a row a method with its AUCs and its calibration error.

    A number that is not defined is a dash, and a line below the table says why. A test that holds out one event
    a user, for one, has no user with both a yes and a no, and so no AUC by user.
    """
    table = Table(title=escape(title) or None, caption_justify="left")
    table.add_column("", no_wrap=True)
    footnotes = []
    for metric, (heading, needs) in _COLUMNS.items():
        table.add_column(heading, justify="right", no_wrap=True)
        if not all(math.isfinite(report[metric]) for report in reports):
            footnotes.append(f"–  {heading} needs {needs}; there are none")
    for report in reports:
        table.add_row(escape(report.name), *(_cell(report.metric(metric)) for metric in _COLUMNS))
    table.caption = "\n".join(footnotes) or None
    return table


def match_record(reports: Sequence[Report]) -> dict[str, Any]:
    """Return reports of `evaluate_match` as plain values for JSON; a number that is not defined becomes None.

    Returns
    -------
    dict
        ``rows`` has for each method the auc, the user_auc and the ece; ``reports`` has the whole reports, with
        intervals and definitions.
    """
    whole = {report.name: report.to_dict() for report in reports}
    short = {"auc": "auc", "user_auc": "user_auc", "ece": "expected_calibration_error"}
    rows = {name: {key: body["metrics"][metric] for key, metric in short.items()} for name, body in whole.items()}
    return {"rows": rows, "reports": whole}


def _cell(metric: Metric) -> str:
    if not math.isfinite(metric.value):
        return "–"
    if metric.low is None or metric.high is None or not math.isfinite(metric.low):
        return f"{metric.value:.4f}"
    return f"{metric.value:.4f} ({metric.low:.4f} – {metric.high:.4f})"
