"""Clicks: what a button of the page stands for, and what is said where something cannot be done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from markupsafe import Markup
from pydantic import ValidationError

from flanrec.errors import FlanrecError
from flanrec.serving.batching import Busy, Closed, Late
from flanrec.serving.http.gate import NOBODY
from flanrec.serving.http.problems import clean, problem_of
from flanrec.serving.store.trail import Trace

logger = logging.getLogger(__name__)

TELL = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-act]');
  if (button && element.contains(button)) { trigger('click', {...button.dataset}); }
});
"""
"""Has an HTML component tell which of its buttons was clicked."""

_NARROW = 760
"""Width of a window, in pixels, in which one thing stands below the other."""

Work = Callable[..., Awaitable[tuple[Any, ...]]]


@dataclass(frozen=True)
class Click:
    """A click on a button of an HTML component.

    Attributes
    ----------
    act
        What is to be done.
    item, value
        With what; "" for nothing.
    by
        Who clicked: the name of a key, where the service has keys.
    """

    act: str
    item: str = ""
    value: str = ""
    by: Trace = field(default_factory=lambda: Trace(NOBODY))


def area(value: str = "", name: str = "", *, clicks: bool = True) -> gr.HTML:
    """A place for markup.

    Parameters
    ----------
    clicks
        Whether its buttons tell their clicks.
    """
    return gr.HTML(
        value, js_on_load=TELL if clicks else None, elem_id=name or None, padding=False, apply_default_css=False,
        elem_classes="fs-area",
    )  # fmt: skip


def quiet() -> dict[str, Any]:
    """What all listeners have in common: no part in an API, and no spinner over what is there."""
    return {"api_visibility": "private", "show_progress": "minimal"}


def then_show(done: Any, name: str) -> None:
    """On a phone, go to the place of what a click brought, which is below it."""
    there = f"document.getElementById({name!r})?.scrollIntoView({{behavior: 'smooth'}})"
    done.then(None, js=f"() => {{ if (window.innerWidth < {_NARROW}) {{ {there}; }} }}", **quiet())


def on_click(work: Work, count: int) -> Callable[..., Any]:
    """A handler of clicks in an `area`.

    Parameters
    ----------
    work
        Takes a `Click` and the inputs, and gives the outputs but for the last, which is the place of messages.
    count
        How many outputs it gives.
    """

    async def handled(event: gr.EventData, request: gr.Request, *given: Any) -> list[Any]:
        return await _tried(work(click_of(event._data, request), *given), count)

    return handled


def on_ask(work: Work, count: int) -> Callable[..., Any]:
    """A handler of everything else: as `on_click`, of work that takes the inputs alone."""

    async def handled(*given: Any) -> list[Any]:
        return await _tried(work(*given), count)

    return handled


def click_of(data: Any, request: gr.Request | None = None) -> Click:
    """What a browser says of a click, which may be anything."""
    told = data if isinstance(data, dict) else {}
    state = getattr(getattr(request, "request", None), "state", None)
    by = Trace(str(getattr(state, "actor", NOBODY)), str(getattr(state, "request_id", "")))
    act, item, value = (clean(str(told.get(name, ""))) for name in ("act", "item", "value"))
    return Click(act, item, value, by)


def said(error: Exception) -> Markup:
    """An error as a message on the page."""
    return Markup('<div class="fs-notice" role="alert">{}</div>').format(_words(error))


async def _tried(work: Awaitable[tuple[Any, ...]], count: int) -> list[Any]:
    try:
        return [*await work, ""]
    except asyncio.CancelledError:
        raise
    except Exception as error:
        if not isinstance(error, FlanrecError | Busy | Late | Closed | ValidationError):
            logger.exception("the studio could not answer")
        return [*(gr.skip() for _ in range(count)), said(error)]


def _words(error: Exception) -> str:
    if isinstance(error, ValidationError):
        told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3]]
        return clean("; ".join(told))
    if isinstance(error, FlanrecError | Busy | Late | Closed):
        return problem_of(error).detail
    return "Something went wrong here; the log of the service says what."
