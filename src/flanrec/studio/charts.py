"""Small pictures as SVG in the page's own colours: columns by hour, and means with intervals."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from flanrec.metrics import Interval
from flanrec.studio.markup import NOTHING, empty, joined

COLOURS = ("#0d9488", "#6366f1", "#d97706", "#be185d", "#64748b")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 720, 206, 52, 30, 16
_HOUR = 3_600.0
_MOST = 336
"""Columns that can still be told apart; more hours become days."""


def columns_by_hour(counts: Mapping[str, Mapping[float, int]], since: float, until: float, words: str) -> Markup:
    """Stacked columns, one an hour, or one a day where the hours are too many.

    Parameters
    ----------
    counts
        By name, then by the moment at which an hour begins, in seconds.
    since, until
        What the picture spans, in seconds.
    words
        What it shows, for those who cannot see it.
    """
    step = _HOUR if (until - since) / _HOUR <= _MOST else 24 * _HOUR
    first, last = int(since // step), int(until // step)
    stacks: dict[int, list[tuple[int, int]]] = {}
    for place, hours in enumerate(counts.values()):
        grouped: dict[int, int] = {}
        for moment, count in hours.items():
            grouped[int(moment // step)] = grouped.get(int(moment // step), 0) + count
        for slot, count in grouped.items():
            stacks.setdefault(slot, []).append((place, count))
    highest = max((sum(count for _, count in stack) for stack in stacks.values()), default=0)
    if not highest:
        return empty("No list was shown in this time.")
    wide = (_WIDTH - _LEFT) / (last - first + 1)
    tall = _HEIGHT - _BOTTOM - _TOP
    bars = []
    for slot, stack in sorted(stacks.items()):
        below = 0.0
        for place, count in stack:
            height = tall * count / highest
            bars.append(
                Markup('<rect x="{}" y="{}" width="{}" height="{}" fill="{}"><title>{}</title></rect>').format(
                    f"{_LEFT + wide * (slot - first):.1f}", f"{_TOP + tall - below - height:.1f}",
                    f"{max(wide - 1, 0.8):.1f}", f"{height:.1f}", COLOURS[place % len(COLOURS)],
                    f"{_clock(slot * step, step)}: {count} of {list(counts)[place]}",
                )
            )  # fmt: skip
            below += height
    marks = [(first + round(part * (last - first) / 4)) for part in range(5)]
    axis = joined(
        Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
            "fs-less" if place % 2 else "", f"{_LEFT + wide * (slot - first):.1f}", _HEIGHT - 6,
            "end" if slot == last else "start", _clock(slot * step, step),
        )
        for place, slot in enumerate(dict.fromkeys(marks))
    )  # fmt: skip
    scale = joined(
        Markup('<text x="{}" y="{}" text-anchor="end">{}</text><path d="M{} {}H{}"/>').format(
            _LEFT - 6, f"{_TOP + tall * (1 - part) + 4:.1f}", f"{part * highest:g}", _LEFT,
            f"{_TOP + tall * (1 - part):.1f}", _WIDTH,
        )
        for part in ((0, 0.5, 1) if highest % 2 == 0 else (0, 1))
    )  # fmt: skip
    picture = Markup('<svg class="fs-chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>').format(
        _WIDTH, _HEIGHT, words, scale, joined(bars), axis
    )
    return picture + legend(list(counts))


def legend(names: Sequence[str]) -> Markup:
    """Which colour is which; nothing for one alone."""
    if len(names) < 2:
        return NOTHING
    entries = joined(
        Markup('<span><i style="background:{}"></i>{}</span>').format(COLOURS[place % len(COLOURS)], name)
        for place, name in enumerate(names)
    )
    return Markup('<div class="fs-legend">{}</div>').format(entries)


def interval_bar(interval: Interval, highest: float) -> Markup:
    """A mean between 0 and `highest` as a mark on the line of its interval."""
    low, high, at = (
        100 * min(max(one, 0.0), highest) / highest for one in (interval.low, interval.high, interval.value)
    )
    words = f"{interval.value:.3f}, {interval.low:.3f} to {interval.high:.3f}"
    return Markup(
        '<span class="fs-span" role="img" aria-label="{}"><i style="left:{}%;width:{}%"></i>'
        '<b style="left:{}%"></b></span>'
    ).format(words, f"{low:.1f}", f"{max(high - low, 0.5):.1f}", f"{at:.1f}")


def share_bar(share: float, words: str) -> Markup:
    """A share of one as a filled line.

    >>> "width:25.0%" in share_bar(0.25, "a quarter")
    True
    """
    return Markup('<span class="fs-share" role="img" aria-label="{}"><i style="width:{}%"></i></span>').format(
        words, f"{100 * min(max(share, 0.0), 1.0):.1f}"
    )


def _clock(moment: float, step: float) -> str:
    return time.strftime("%d %b" if step > _HOUR else "%d %b %H:00", time.gmtime(moment))
