"""A comparison as text: numbers as they are printed, and tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.markup import escape
from rich.table import Table

from flanrec.evaluation.comparison import Comparison
from flanrec.evaluation.methods import Row
from flanrec.metrics import Interval


@dataclass(frozen=True)
class Line:
    """A row of a table, each cell as text.

    Attributes
    ----------
    number
        Place of the row, from 1.
    segments
        NDCG@10 with its interval and the difference with its interval, by segment.
    """

    number: int
    name: str
    kind: str
    settings: str
    ndcg: str
    ndcg_interval: str
    hit_rate: str
    hit_rate_interval: str
    difference: str
    difference_interval: str
    coverage: str
    popularity: str
    fit_seconds: str
    user_milliseconds: str
    is_reference: bool
    segments: dict[str, tuple[str, str, str, str]]


@dataclass(frozen=True)
class SeedLine:
    """NDCG@10 of a row over several seeds: the mean, the lowest and the highest."""

    name: str
    seeds: int
    mean: str
    low: str
    high: str


def lines_of(comparison: Comparison) -> list[Line]:
    """All rows of a comparison as text, in their order."""
    return [_line(comparison, number, row) for number, row in enumerate(comparison.rows, start=1)]


def seed_lines(comparisons: Sequence[Comparison]) -> list[SeedLine]:
    """Rows over comparisons of one split with different seeds."""
    values: dict[str, list[float]] = {}
    for comparison in comparisons:
        for name, standing in comparison.standings.items():
            values.setdefault(name, []).append(standing.ndcg.value)
    return [
        SeedLine(name, len(each), f"{np.mean(each):.4f}", f"{min(each):.4f}", f"{max(each):.4f}")
        for name, each in values.items()
    ]


def accuracy_table(comparison: Comparison) -> Table:
    """All users: accuracy, and the difference to the reference with its interval."""
    users = f"{len(comparison.events)} users, {comparison.ranked} items ranked"
    below = [f"difference: NDCG@10 against {comparison.reference}, {comparison.level:.0%} interval", *comparison.notes]
    return _table(
        comparison,
        f"{comparison.data}, {comparison.rule}, seed {comparison.seed}: {users}",
        ("NDCG@10", "HR@10", "difference", "interval"),
        lambda line: (line.ndcg, line.hit_rate, line.difference, line.difference_interval),
        below,
    )


def lists_table(comparison: Comparison) -> Table:
    """What is in the lists, and what they cost."""
    return _table(
        comparison,
        f"lists and time, {comparison.rule}, seed {comparison.seed}",
        ("coverage", "popularity", "fit s", "ms a user"),
        lambda line: (line.coverage, line.popularity, line.fit_seconds, line.user_milliseconds),
    )


def segment_table(comparison: Comparison) -> Table:
    """NDCG@10 of each segment; intervals are in the other forms."""
    return _table(
        comparison,
        f"NDCG@10 by segment, {comparison.rule}, seed {comparison.seed}",
        [f"{name}\n{int(users.sum())} users" for name, users in comparison.segments.items()],
        lambda line: [value for value, *_ in line.segments.values()],
    )


def _table(
    comparison: Comparison,
    title: str,
    headings: Sequence[str],
    cells: Callable[[Line], Sequence[str]],
    below: Sequence[str] = (),
) -> Table:
    table = Table(title=escape(title), caption=escape("\n".join(below)) or None, caption_justify="left")
    table.add_column("row", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    lines = lines_of(comparison)
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        last_of_kind = following is None or following.kind != line.kind
        table.add_row(escape(line.name), *cells(line), end_section=last_of_kind)
    return table


def seed_table(comparisons: Sequence[Comparison]) -> Table:
    """NDCG@10 of one split over seeds."""
    table = Table(title=escape(f"NDCG@10 over seeds, {comparisons[0].rule}"))
    for heading in ("row", "seeds", "mean", "lowest", "highest"):
        table.add_column(heading, justify="left" if heading == "row" else "right")
    for line in seed_lines(comparisons):
        table.add_row(escape(line.name), str(line.seeds), line.mean, line.low, line.high)
    return table


def _line(comparison: Comparison, number: int, row: Row) -> Line:
    standing = comparison.standings[row.name]
    parts = {name: rows[row.name] for name, rows in comparison.by_segment.items()}
    popularity = comparison.popularity(row)
    return Line(
        number=number,
        name=row.name,
        kind=row.kind,
        settings=row.settings,
        ndcg=f"{standing.ndcg.value:.4f}",
        ndcg_interval=_interval(standing.ndcg),
        hit_rate=f"{standing.hit_rate.value:.4f}",
        hit_rate_interval=_interval(standing.hit_rate),
        difference=f"{standing.difference.value:+.4f}",
        difference_interval=_interval(standing.difference, "+"),
        coverage=f"{comparison.coverage(row):.1%}",
        popularity="–" if math.isnan(popularity) else f"{popularity:.1f}",
        fit_seconds="–" if math.isnan(row.fit_seconds) else f"{row.fit_seconds:.2f}",
        user_milliseconds="–" if math.isnan(row.user_seconds) else f"{1000 * row.user_seconds:.2f}",
        is_reference=row.name == comparison.reference,
        segments={
            name: (
                f"{part.ndcg.value:.4f}",
                _interval(part.ndcg),
                f"{part.difference.value:+.4f}",
                _interval(part.difference, "+"),
            )
            for name, part in parts.items()
        },
    )


def _interval(interval: Interval, sign: str = "") -> str:
    return f"[{interval.low:{sign}.4f}, {interval.high:{sign}.4f}]"
