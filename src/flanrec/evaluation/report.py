"""What an evaluation says: each number with its interval, its definition, and the rules it was made under."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.markup import escape
from rich.table import Table

from flanrec.errors import NotFoundError
from flanrec.metrics.intervals import PairedDifference, paired_bootstrap
from flanrec.metrics.lists import FloatArray


@dataclass(frozen=True)
class Metric:
    """One number of a report.

    Parameters
    ----------
    name
        Such as ``"ndcg@10"``, or ``"auc"`` where there is no cut-off.
    value
        NaN when it is not defined on these data.
    low, high
        Bounds of its bootstrap interval; None for a property of all lists together, which has none.
    count
        How many users went into it.
    definition
        One line saying what is computed.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    count: int
    definition: str

    @property
    def family(self) -> str:
        """The name without its cut-off."""
        return self.name.partition("@")[0]


@dataclass(frozen=True)
class Report:
    """The result of one evaluation.

    Parameters
    ----------
    name
        What was evaluated.
    protocol
        In words: what was ranked, and what was left out.
    users, users_left_out
        Users who count in the accuracy metrics, and users left out because they have no relevant item.
    notes
        What a reader must know before comparing the numbers with others.
    per_user
        Metric name to one value a user (NaN where undefined), for paired comparisons; not part of `to_dict`.
    """

    name: str
    protocol: str
    metrics: tuple[Metric, ...]
    users: int
    users_left_out: int = 0
    tie_rule: str | None = None
    level: float = 0.95
    resamples: int = 2000
    seed: int = 42
    notes: tuple[str, ...] = ()
    per_user: Mapping[str, FloatArray] = field(default_factory=dict, repr=False, compare=False)

    def __getitem__(self, name: str) -> float:
        """Return the value of a metric by its name, such as ``report["ndcg@10"]``."""
        return self.metric(name).value

    def metric(self, name: str) -> Metric:
        """Return a metric by its name, or raise `NotFoundError` that lists the names there are."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise NotFoundError(f"the report has no metric {name!r}; it has {', '.join(m.name for m in self.metrics)}")

    @property
    def definitions(self) -> dict[str, str]:
        """What each metric means, by name without cut-off."""
        return {metric.family: metric.definition for metric in self.metrics}

    def compare(self, other: Report, name: str, seed: int = 42) -> PairedDifference:
        """Return this report's metric minus the other's, user by user, with interval and p-value.

        Both must have evaluated the same users in the same order.
        """
        for report in (self, other):
            if name not in report.per_user:
                raise NotFoundError(
                    f"{report.name!r} has no values of {name!r} by user; it has {', '.join(report.per_user) or 'none'}"
                )
        return paired_bootstrap(self.per_user[name], other.per_user[name], seed, self.resamples, self.level)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; a number that is not defined becomes None."""
        return {
            "name": self.name,
            "protocol": self.protocol,
            "users": self.users,
            "users_left_out": self.users_left_out,
            "metrics": {metric.name: _number(metric.value) for metric in self.metrics},
            "intervals": {
                metric.name: [_number(metric.low), _number(metric.high)]
                for metric in self.metrics
                if metric.low is not None and metric.high is not None
            },
            "counts": {metric.name: metric.count for metric in self.metrics},
            "definitions": self.definitions,
            "tie_rule": self.tie_rule,
            "bootstrap": {"level": self.level, "resamples": self.resamples, "seed": self.seed},
            "notes": list(self.notes),
        }

    def to_json(self, indent: int | None = 2) -> str:
        """Return `to_dict` as strict JSON text (no NaN)."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=indent, allow_nan=False)

    def to_table(self) -> Table:
        """Return a table for the terminal: a row a metric; below it the rules and what each metric means."""
        left_out = f", {self.users_left_out} left out because they have no relevant item" if self.users_left_out else ""
        below = [f"{self.users} users{left_out}", self.protocol]
        if self.tie_rule:
            below.append(f"ties: {self.tie_rule}")
        below.append(f"intervals: {self.level:.0%} bootstrap over users, {self.resamples} resamples, seed {self.seed}")
        below += [*self.notes, *(f"{family}: {words}" for family, words in self.definitions.items())]
        table = Table(title=escape(self.name), caption=escape("\n".join(below)), caption_justify="left", min_width=78)
        table.add_column("metric", no_wrap=True)
        table.add_column("value", justify="right", no_wrap=True)
        table.add_column(f"{self.level:.0%} interval", justify="right", no_wrap=True)
        ordered = [metric for family in self.definitions for metric in self.metrics if metric.family == family]
        for metric, following in zip(ordered, [*ordered[1:], None], strict=True):
            last = following is None or following.family != metric.family
            table.add_row(metric.name, _text(metric.value), _interval(metric), end_section=last)
        return table

    def __rich__(self) -> Table:
        """Let a rich console print the report."""
        return self.to_table()


def comparison_table(reports: Sequence[Report], names: Sequence[str], title: str = "") -> Table:
    """Return a table with a row a report and a column a metric, such as the tuned model beside its baselines.

    The best value of a column is bold only where higher is better for it. Reports without a metric get a dash.
    """
    table = Table(title=escape(title) or None)
    table.add_column("method", no_wrap=True)
    best: dict[str, float] = {}
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
        values = [metric.value for report in reports for metric in report.metrics if metric.name == name]
        if name.partition("@")[0] in _HIGHER_IS_BETTER and any(map(math.isfinite, values)):
            best[name] = max(value for value in values if math.isfinite(value))
    for report in reports:
        row = []
        for name in names:
            metric = next((metric for metric in report.metrics if metric.name == name), None)
            cell = "-" if metric is None else _cell(metric)
            row.append(f"[bold]{cell}[/bold]" if metric is not None and metric.value == best.get(name) else cell)
        table.add_row(escape(report.name), *row)
    return table


_HIGHER_IS_BETTER = {
    "hit_rate",
    "recall",
    "precision",
    "ndcg",
    "mrr",
    "map",
    "auc",
    "user_auc",
    "coverage",
    "valid_rate",
}


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _text(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "undefined"


def _interval(metric: Metric) -> str:
    if metric.low is None or metric.high is None or not math.isfinite(metric.low):
        return ""
    return f"{metric.low:.4f} – {metric.high:.4f}"


def _cell(metric: Metric) -> str:
    interval = _interval(metric)
    return f"{_text(metric.value)} ({interval})" if interval else _text(metric.value)
