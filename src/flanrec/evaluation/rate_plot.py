"""The course of a learning-rate range test as SVG."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from flanrec.evaluation.svg import INK, STYLE, svg_of
from flanrec.tuning.rate_finder import RateCurve


def rate_plot(curve: RateCurve, setting: str) -> str:
    """The smoothed loss of a range test over the rate, with what is suggested.

    Parameters
    ----------
    setting
        Whose rate is drawn.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 4.2), layout="constrained")
        axes = figure.subplots()
        axes.plot(curve.rates, curve.smoothed, color="#1c8fb0")
        axes.axhline(curve.untrained, color=INK, linewidth=0.6, linestyle=":")
        for rate, words, colour in (
            (curve.steepest, "steepest fall", "#e8590c"),
            (curve.tenth, "a tenth of the lowest", "#8a63d2"),
        ):
            if rate is not None:
                axes.axvline(rate, color=colour, linewidth=1.2, label=f"{words}: {rate:.2g}")
        if curve.rates:
            axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        if curve.lowest is not None:
            fall = curve.untrained - curve.smoothed[curve.lowest]
            axes.set_ylim(curve.smoothed[curve.lowest] - 0.1 * fall, curve.untrained + fall)
        axes.set_xlabel(setting)
        axes.set_ylabel("loss, smoothed")
        if curve.lowest is not None:
            axes.legend(frameon=False)
        return svg_of(figure, f"Loss over {setting}")
