"""From probabilities of a yes to a report: do they order the pairs, and do they mean what they say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from flanrec.evaluation.protocol import definition
from flanrec.evaluation.report import Metric, Report
from flanrec.metrics import probability
from flanrec.metrics.intervals import bootstrap_interval, bootstrap_statistic


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
