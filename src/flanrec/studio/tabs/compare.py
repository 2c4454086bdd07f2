"""Compare: two models, or two settings, side by side for the one who was chosen under Recommend."""

from __future__ import annotations

from typing import Any

import gradio as gr
from markupsafe import Markup

from flanrec.errors import SettingsError
from flanrec.serving.service import Service
from flanrec.studio.cards import item_line
from flanrec.studio.clicks import area, on_ask, quiet
from flanrec.studio.looking import Dials, Look, looks
from flanrec.studio.markup import empty, facts, joined
from flanrec.studio.somebody import Somebody

READINGS = {
    "all sources together": "fused", "item tokens alone": "item_tokens", "titles spelled by the T5": "generate",
}  # fmt: skip
_SAID = {reading: words for words, reading in READINGS.items()}
_NOBODY = Somebody()


class CompareTab:
    """What the clicks of the tab do.

    Parameters
    ----------
    service
        Which is asked.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def compare(self, somebody: Somebody, wish: str, avoid: str, *sides: Any) -> tuple[Markup]:
        """Both lists, with what they share.

        Parameters
        ----------
        sides
            Model, reading, diversity and long tail of the one, then of the other.
        """
        if somebody == _NOBODY and not wish.strip():
            raise SettingsError("choose or describe somebody under Recommend first")
        half = len(sides) // 2
        settings = [_dials(wish, avoid, *sides[:half]), _dials(wish, avoid, *sides[half:])]
        first, second = await looks(self._service, somebody, settings)
        return (compared_markup(somebody, first, second),)


def compare_tab(service: Service, somebody: gr.State) -> None:
    """The tab; whom it is for is kept in `somebody`."""
    names, acts = service.models.names, CompareTab(service)
    with gr.Tab("Compare", id="compare") as tab:
        with gr.Row():
            wish = gr.Textbox(label="Wish", placeholder="for both", elem_id="fs-compare-wish", min_width=200)
            avoid = gr.Textbox(label="Avoid", placeholder="for both", min_width=200)
        with gr.Row():
            sides = _side("First", names, names[0], "fused") + _side(
                "Second", names, names[min(1, len(names) - 1)], "fused" if len(names) > 1 else "item_tokens"
            )
        go = gr.Button("Compare", variant="primary", elem_id="fs-compare-go")
        notice = area(name="fs-compare-notice", clicks=False)
        both = area(empty("Choose somebody under Recommend, then compare."), name="fs-compared", clicks=False)
    asking = on_ask(acts.compare, 1)
    for ask in (go.click, wish.submit, avoid.submit):
        ask(asking, [somebody, wish, avoid, *sides], [both, notice], **quiet())
    tab.select(on_ask(_seen_before(acts), 1), [somebody, wish, avoid, *sides], [both, notice], **quiet())


def compared_markup(somebody: Somebody, first: Look, second: Look) -> Markup:
    """Two lists side by side; what is in both says how its place changes."""
    places = [
        {look.live.ids[item]: row for row, item in enumerate(look.listed.items.tolist())} for look in (first, second)
    ]
    shared = len(places[0].keys() & places[1].keys())
    told = facts(
        [
            ("for", "somebody described" if somebody.user_id is None else f"user {somebody.user_id}"),
            ("in both", f"{shared} of {max(map(len, places))}"),
        ]
    )
    columns = joined(
        _column(name, look, other) for name, look, other in (("First", first, places[1]), ("Second", second, places[0]))
    )
    return told + Markup('<div class="fs-pair">{}</div>').format(columns)


def _column(name: str, look: Look, other: dict[str, int]) -> Markup:
    live, dials = look.live, look.dials
    titles = live.recommender.parts.catalogue.titles
    rows = []
    for row, item in enumerate(look.listed.items.tolist()):
        there = other.get(live.ids[item])
        mark = "only here" if there is None else "same place" if there == row else f"number {there + 1} there"
        rows.append(
            Markup(
                '<li class="{}"><span class="fs-rank">{}</span><div><span class="fs-title">{}</span>'
                '<span class="fs-meta">{}</span></div><span class="fs-mark">{}</span></li>'
            ).format("fs-alone" if there is None else "fs-both", row + 1, titles[item], item_line(live, item), mark)
        )
    settings = [_SAID.get(dials.reading, dials.reading)]
    settings += [f"diversity {dials.diversity:g}"] if dials.diversity else []
    settings += [f"long tail {dials.long_tail:g}"] if dials.long_tail else []
    fallback = f" · only what is popular: {look.listed.fallback}" if look.listed.fallback else ""
    return Markup(
        '<section><h2 class="fs-h">{}: {} · {}</h2><p class="fs-meta">{}{}</p><ol class="fs-rows">{}</ol></section>'
    ).format(name, live.name, live.version, ", ".join(settings), fallback, joined(rows))


def _side(name: str, names: list[str], model: str, reading: str) -> list[gr.components.Component]:
    with gr.Column(min_width=300, elem_classes="fs-tight"):
        return [
            gr.Dropdown(names, value=model, label=f"{name} model"),
            gr.Dropdown(list(READINGS.items()), value=reading, label="Reading"),
            gr.Slider(0, 1, 0, step=0.05, label="Diversity"),
            gr.Slider(0, 1, 0, step=0.05, label="Long tail"),
        ]


def _dials(wish: str, avoid: str, model: str, reading: str, diversity: float, long_tail: float) -> Dials:
    return Dials(model or "", wish or "", avoid or "", float(diversity or 0), float(long_tail or 0), reading or "fused")


def _seen_before(acts: CompareTab) -> Any:
    async def opened(somebody: Somebody, wish: str, *rest: Any) -> tuple[Any]:
        """The comparison when the tab is opened; nothing while nobody was chosen."""
        if somebody == _NOBODY and not wish.strip():
            return (gr.skip(),)
        return await acts.compare(somebody, wish, *rest)

    return opened
