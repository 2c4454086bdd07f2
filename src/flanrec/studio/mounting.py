"""The page in the application of the service: only what it needs, and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import cast

import gradio as gr
from fastapi import FastAPI
from starlette.responses import RedirectResponse
from starlette.routing import Mount

from flanrec.serving.http.gate import STUDIO
from flanrec.serving.service import Service
from flanrec.studio.fence import Fence
from flanrec.studio.page import make_page

_WAITING = 64
"""Most clicks that wait."""
_TOGETHER = 8
"""Most clicks that are answered at once; the model has a queue of its own behind them."""
_SESSIONS = 200
"""Most open pages whose state is kept."""
_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def mount_page(app: FastAPI, service: Service) -> None:
    """Serve the page at ``/studio``: without uploads, files of the disk, an API of its own, or a footer."""
    page = make_page(service)
    page.queue(max_size=_WAITING, default_concurrency_limit=_TOGETHER, api_open=False)
    page.state_session_capacity = _SESSIONS
    gr.mount_gradio_app(
        app,
        page,
        path=STUDIO,
        theme=_theme(),
        # As it is: what is given as css has each rule rewritten, and some come out wrong.
        head=f"<style>{files('flanrec.studio').joinpath('style.css').read_text(encoding='utf-8')}</style>",
        footer_links=[],
        run_history=False,
        show_error=False,
        allowed_paths=[],
        blocked_paths=["/"],
        max_file_size=1,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
    )
    mounted = cast(Mount, app.routes[-1])
    mounted.app = Fence(mounted.app, _ending(service))
    app.add_route(STUDIO, lambda _request: RedirectResponse(f"{STUDIO}/"), methods=["GET"], include_in_schema=False)


def _ending(service: Service) -> Callable[[], bool]:
    return lambda: not service.ready


def _theme() -> gr.themes.Base:
    return gr.themes.Base(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue="slate",
        font=list(_FONTS),
        font_mono=list(_MONO),
        radius_size="sm",
    ).set(body_background_fill="#f6f7f8", block_shadow="none")
