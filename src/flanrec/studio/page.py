"""The page: its tabs, and what they share."""

from __future__ import annotations

import gradio as gr

from flanrec.serving.service import Service
from flanrec.studio.somebody import Somebody
from flanrec.studio.tabs.recommend import recommend_tab

TITLE = "flanrec studio"


def make_page(service: Service) -> gr.Blocks:
    """All of the page; nothing of the store or the models is in it before it is asked for."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, elem_id="fs-page") as page:
        gr.HTML(f'<header class="fs-top"><h1>{TITLE}</h1></header>', js_on_load=None, padding=False)
        somebody = gr.State(Somebody())
        with gr.Tabs():
            recommend_tab(service, page, somebody)
    return page
