"""Plots of a comparison as SVG that stands inside a page and takes the page's text colour."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from flanrec.evaluation.comparison import Comparison
from flanrec.evaluation.methods import KINDS, Row
from flanrec.evaluation.svg import INK, STYLE, svg_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS: Mapping[str, str] = MappingProxyType(
    {"reading": "#e8590c", "untuned": "#c2255c", "ablation": "#8a63d2", "source": "#1c8fb0", "peer": "#6b8e23"}
)
_MARKERS: Mapping[str, str] = MappingProxyType(
    {"reading": "D", "untuned": "X", "ablation": "v", "source": "o", "peer": "s"}
)


def time_plot(comparison: Comparison) -> str:
    """Accuracy against the time to fit and the time a user takes; points have the numbers of the table's rows."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, label, times in (
            (left, "seconds to fit", [row.fit_seconds for row in comparison.rows]),
            (right, "milliseconds a user", [1000 * row.user_seconds for row in comparison.rows]),
        ):
            for number, (row, time) in enumerate(zip(comparison.rows, times, strict=True), start=1):
                if math.isnan(time):
                    continue
                accuracy = comparison.standings[row.name].ndcg
                beyond = [[accuracy.value - accuracy.low], [accuracy.high - accuracy.value]]
                place = max(time, 1e-3)
                axes.errorbar(place, accuracy.value, yerr=beyond, fmt=_MARKERS[row.kind], color=_COLOURS[row.kind],
                              elinewidth=0.8, alpha=0.9)  # fmt: skip
                axes.annotate(str(number), (place, accuracy.value), (5, 4), textcoords="offset points", fontsize=8)
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
            axes.set_xlabel(label)
        left.set_ylabel("NDCG@10")
        _legend(left, comparison.rows)
        return svg_of(figure, "NDCG@10 against time to fit and time a user")


def difference_plot(comparison: Comparison) -> str:
    """The difference of every row to the reference, with its interval."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 0.8 + 0.24 * len(comparison.rows)), layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(comparison.rows):
            found = comparison.standings[row.name].difference
            beyond = [[found.value - found.low], [found.high - found.value]]
            axes.errorbar(found.value, place, xerr=beyond, fmt=_MARKERS[row.kind], color=_COLOURS[row.kind],
                          elinewidth=1.5)  # fmt: skip
        axes.axvline(0, color=INK, linewidth=0.8)
        _name_rows(axes, comparison.rows)
        axes.set_xlabel(f"NDCG@10 minus that of {comparison.reference}")
        return svg_of(figure, "Difference in NDCG@10 to the reference row")


def lists_plot(comparison: Comparison) -> str:
    """Coverage of the catalogue, and popularity of what is recommended."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 0.8 + 0.24 * len(comparison.rows)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        colours = [_COLOURS[row.kind] for row in comparison.rows]
        places = range(len(comparison.rows))
        left.barh(places, [100 * comparison.coverage(row) for row in comparison.rows], color=colours)
        left.set_xlabel("coverage, % of the items ranked")
        right.barh(places, [comparison.popularity(row) for row in comparison.rows], color=colours)
        right.set_xlabel("popularity, training events an item")
        _name_rows(left, comparison.rows)
        return svg_of(figure, "Coverage and popularity of the lists")


def segment_plot(comparison: Comparison) -> str:
    """NDCG@10 by segment with intervals: every reading, the best source, the best peer, and the reference."""
    shown = segment_rows(comparison)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        axes = figure.subplots()
        width = 0.8 / len(shown)
        for order, row in enumerate(shown):
            found = [rows[row.name].ndcg for rows in comparison.by_segment.values()]
            places = [segment + (order - (len(shown) - 1) / 2) * width for segment in range(len(found))]
            beyond = [[one.value - one.low for one in found], [one.high - one.value for one in found]]
            same_kind = [other for other in shown[:order] if other.kind == row.kind]
            axes.bar(places, [one.value for one in found], 0.9 * width, yerr=beyond, color=_COLOURS[row.kind],
                     alpha=0.95 - 0.25 * len(same_kind), ecolor=INK, error_kw={"elinewidth": 0.8},
                     label=row.name)  # fmt: skip
        names = [f"{name}\n{int(users.sum())} users" for name, users in comparison.segments.items()]
        axes.set_xticks(range(len(names)), names)
        axes.set_ylabel("NDCG@10")
        axes.legend(frameon=False)
        return svg_of(figure, "NDCG@10 by segment of users")


def segment_rows(comparison: Comparison) -> list[Row]:
    """The rows of `segment_plot`, in the order of the comparison."""
    best = [comparison.best("source"), comparison.best("peer")]
    return [
        row
        for row in comparison.rows
        if row.kind == "reading" or row.name == comparison.reference or any(row is one for one in best)
    ]


def _name_rows(axes: Axes, rows: Sequence[Row]) -> None:
    axes.set_yticks(range(len(rows)), [f"{row.name}  {number}" for number, row in enumerate(rows, start=1)])
    axes.set_ylim(len(rows) - 0.4, -0.6)


def _legend(axes: Axes, rows: Sequence[Row]) -> None:
    for kind in KINDS:
        if any(row.kind == kind and not math.isnan(row.user_seconds) for row in rows):
            axes.plot([], [], _MARKERS[kind], color=_COLOURS[kind], label=kind)
    axes.legend(frameon=False, fontsize=8)
