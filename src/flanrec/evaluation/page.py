"""Comparisons as one HTML page that needs nothing else: no script, no network, no other file."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import flanrec
from flanrec.artefact import write_text_atomically
from flanrec.errors import SettingsError
from flanrec.evaluation import segments
from flanrec.evaluation.comparison import DEFINITIONS, Comparison
from flanrec.evaluation.comparison_tables import lines_of, seed_lines
from flanrec.evaluation.methods import KINDS, TIE_RULE
from flanrec.evaluation.tasks import MEANING

_COLUMNS = ("NDCG@10", "interval", "HR@10", "interval", "difference", "interval", "coverage", "popularity",
            "seconds to fit", "ms a user")  # fmt: skip
_NEEDED = {"matplotlib": "matplotlib", "jinja2": "Jinja2"}


def check_report_extra() -> None:
    """Raise SettingsError where the packages that draw the page are missing."""
    missing = [name for module, name in _NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise SettingsError(
            f"the report needs {' and '.join(missing)}, which is not installed: pip install 'flanrec[report]'"
        )


def page_of(comparisons: Sequence[Comparison], title: str) -> str:
    """The page as text; the same comparisons give the same page.

    Every text is escaped: names of data sets, rows and settings may hold anything.

    Raises
    ------
    SettingsError
        The extra ``report`` is not installed, or there is nothing to show.
    """
    check_report_extra()
    if not comparisons:
        raise SettingsError("there is no comparison to report; compare on at least one split")
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("flanrec.evaluation", "pages"),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    definitions: dict[str, str] = {**MEANING, **DEFINITIONS, **segments.DEFINITIONS, **KINDS}
    anchors = {name: f"definition-{place}" for place, name in enumerate(definitions)}
    return environment.get_template("comparison.html.jinja").render(
        title=title,
        version=flanrec.__version__,
        tie_rule=TIE_RULE,
        columns=_COLUMNS,
        anchors=anchors,
        parts=[_part(comparison) for comparison in comparisons],
        seeds=_seeds(comparisons),
        definitions=[{"name": name, "anchor": anchors[name], "words": words} for name, words in definitions.items()],
    )


def write_page(comparisons: Sequence[Comparison], title: str, path: Path) -> None:
    """Write the page so that a crash leaves the old file or the new, never a part."""
    text = page_of(comparisons, title)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, text)


def _part(comparison: Comparison) -> dict[str, Any]:
    from markupsafe import Markup

    from flanrec.evaluation import plots

    users, events = len(comparison.events), int(comparison.counts.sum())
    kinds = list(dict.fromkeys(row.kind for row in comparison.rows))
    drawings = {
        "Accuracy against time. A number is that of a row of the table; bars are intervals; both times are on a "
        "logarithmic scale, and rows whose time is not known are left out.": plots.time_plot,
        "Difference in NDCG@10 to the reference, with intervals.": plots.difference_plot,
        "Coverage and popularity of the lists.": plots.lists_plot,
        "NDCG@10 by segment with intervals: every reading, the best source, the best peer, and the reference.":
            plots.segment_plot,
    }  # fmt: skip
    return {
        "heading": f"{comparison.data}, {comparison.rule}, seed {comparison.seed}",
        "meaning": MEANING[comparison.rule],
        "facts": f"{users} users are asked, {comparison.ranked} of {len(comparison.counts)} items are ranked, "
        f"{events} events are trained on.",
        "notes": comparison.notes,
        "reference": comparison.reference,
        "lines": [{"kind_order": kinds.index(row.kind), "line": line}
                  for row, line in zip(comparison.rows, lines_of(comparison), strict=True)],
        "segments": [{"name": name, "users": int(chosen.sum())} for name, chosen in comparison.segments.items()],
        # Matplotlib escapes the texts that it draws.
        "plots": [{"caption": caption, "svg": Markup(draw(comparison))} for caption, draw in drawings.items()],
    }  # fmt: skip


def _seeds(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    found = []
    for (data, rule), group in groupby(comparisons, key=lambda one: (one.data, one.rule)):
        same = list(group)
        if len(same) > 1:
            found.append({"heading": f"{data}, {rule}", "lines": seed_lines(same)})
    return found
