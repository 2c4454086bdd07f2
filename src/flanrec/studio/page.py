"""The page: its tabs, and what they share."""

from __future__ import annotations

import gradio as gr

from flanrec.serving.service import Service
from flanrec.studio.clicks import area
from flanrec.studio.somebody import Somebody
from flanrec.studio.tabs.catalogue import catalogue_tab
from flanrec.studio.tabs.compare import compare_tab
from flanrec.studio.tabs.recommend import recommend_tab
from flanrec.studio.tabs.review import review_tab
from flanrec.studio.tabs.traffic import traffic_tab

TITLE = "flanrec studio"


def make_page(service: Service) -> gr.Blocks:
    """All of the page; nothing of the store or the models is in it before it is asked for."""
    page = gr.Blocks(title=TITLE, analytics_enabled=False, elem_id="fs-page")
    with page:
        area(f'<header class="fs-top"><h1>{TITLE}</h1></header>', clicks=False)
        somebody = gr.State(Somebody())
        with gr.Tabs():
            recommend_tab(service, page, somebody)
            compare_tab(service, somebody)
            traffic_tab(service)
            catalogue_tab(service)
            review_tab(service)
    return page
