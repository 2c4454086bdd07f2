"""Quality and traffic: what was shown, what came of it, and what the models record."""

from __future__ import annotations

import asyncio

import gradio as gr
from markupsafe import Markup

from flanrec.serving.service import Service
from flanrec.studio.clicks import area, on_ask, quiet
from flanrec.studio.markup import NOTHING
from flanrec.studio.traffic import head_markup, lists_markup, models_markup

SPANS = [("24 hours", 1.0), ("7 days", 7.0), ("30 days", 30.0)]


class TrafficTab:
    """What the clicks of the tab do.

    Parameters
    ----------
    service
        Whose store and counters are read.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def show(self, days: float) -> tuple[Markup, Markup, Markup]:
        """All of the tab, as it is now."""
        await self._service.recorder.flush()
        span = float(days) if float(days) in {days for _, days in SPANS} else 7.0
        lists = await asyncio.to_thread(lists_markup, self._service, span)
        return lists, head_markup(self._service), models_markup(self._service)


def traffic_tab(service: Service) -> None:
    """The tab."""
    acts = TrafficTab(service)
    with gr.Tab("Traffic", id="traffic") as tab:
        with gr.Row(elem_classes="fs-bar-row"):
            days = gr.Radio(SPANS, value=7.0, show_label=False, container=False, elem_id="fs-days", scale=4)
            again = gr.Button("Refresh", size="sm", scale=0, min_width=110)
        notice = area(name="fs-traffic-notice", clicks=False)
        lists = area(NOTHING, name="fs-lists", clicks=False)
        head = area(name="fs-head-share", clicks=False)
        models = area(name="fs-models", clicks=False)
    for listen in (tab.select, again.click, days.input):
        listen(on_ask(acts.show, 3), days, [lists, head, models, notice], **quiet())
