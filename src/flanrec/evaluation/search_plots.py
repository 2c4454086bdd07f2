"""Plots of a search as SVG: which settings matter, and how the trials learnt."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from flanrec.evaluation.svg import INK, STYLE, svg_of

if TYPE_CHECKING:
    from flanrec.evaluation.search_results import SettingsFound

_BEST, _REST = "#e8590c", "#1c8fb0"


def importance_plot(found: SettingsFound) -> str:
    """A bar a setting, the one that matters most on top."""
    shares = found.importances
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 0.8 + 0.3 * len(shares)), layout="constrained")
        axes = figure.subplots()
        axes.barh(range(len(shares)), [100 * share for share in shares.values()], color=_REST)
        axes.set_yticks(range(len(shares)), list(shares))
        axes.set_ylim(len(shares) - 0.4, -0.6)
        axes.set_xlabel("importance, % (PED-ANOVA)")
        return svg_of(figure, "How much each setting matters for being among the better trials")


def curve_plot(found: SettingsFound) -> str:
    """NDCG@10 on the validation events over each stage's steps, a line a trial; a cross ends one that was given up."""
    stages = list(dict.fromkeys(point.stage for trial in found.trials for point in trial.curve))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(5, 5 * len(stages)), 4.2), layout="constrained")
        panels = figure.subplots(1, max(1, len(stages)), squeeze=False)[0]
        for axes, stage in zip(panels, stages, strict=False):
            for trial in found.trials:
                points = {name: list(some) for name, some in groupby(trial.curve, lambda point: point.stage)}
                if stage not in points:
                    continue
                best = trial.number == found.best.number
                shares, values = ([100 * point.share for point in points[stage]],
                                  [point.value for point in points[stage]])  # fmt: skip
                axes.plot(shares, values, marker=".", color=_BEST if best else _REST, zorder=3 if best else 2,
                          linewidth=2.0 if best else 0.8, alpha=1.0 if best else 0.6)  # fmt: skip
                if trial.pruned and stage == trial.curve[-1].stage:
                    axes.plot(shares[-1], values[-1], "x", color=INK)
                axes.annotate(str(trial.number), (shares[-1], values[-1]), (4, 0), textcoords="offset points",
                              fontsize=8)  # fmt: skip
            axes.set_xlabel(f"{stage}, % of the steps")
            axes.set_xlim(0, 108)
        panels[0].set_ylabel("NDCG@10 on the validation events")
        return svg_of(figure, "What the trials measured on their way, by the number of the trial")
