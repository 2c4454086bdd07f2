"""Review: items that somebody should look at, to keep or to take down."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import gradio as gr
from markupsafe import Markup

from flanrec.errors import SettingsError
from flanrec.serving.http.asking import within
from flanrec.serving.service import Service
from flanrec.serving.store import Case, Item
from flanrec.serving.store.cases import Decision
from flanrec.serving.store.records import CaseState
from flanrec.studio.clicks import Click, area, on_ask, on_click, quiet
from flanrec.studio.finding import plain
from flanrec.studio.markup import NOTHING, button, empty, facts, folded, joined

STATES = {"open": "open", "kept": "kept", "taken down": "taken_down", "all": "all"}
_KINDS = {"report": "reported by users", "text": "its text looks hostile", "asked": "asked for"}
_TOGETHER = 20
_SHORT = 280


class ReviewTab:
    """What the clicks of the tab do.

    Parameters
    ----------
    service
        Whose queue is worked on.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def show(self, state: str) -> tuple[Markup]:
        """The newest cases."""
        return (await asyncio.to_thread(self._cases, state, None),)

    async def click(self, click: Click, state: str, note: str) -> tuple[Markup, Any]:
        """Decide a case, or go on to older ones."""
        if click.act == "older":
            return await asyncio.to_thread(self._cases, state, _number(click.item)), gr.skip()
        if click.act not in ("keep", "take_down"):
            raise SettingsError("a case is kept, or its item taken down")
        words = plain(self._service, note)
        within("characters of note", len(words), self._service.settings.limits.text)
        decide = self._service.store.cases.decide
        await asyncio.to_thread(decide, _number(click.item), cast(Decision, click.act), words, click.by)
        return await asyncio.to_thread(self._cases, state, None), ""

    def _cases(self, state: str, after: int | None) -> Markup:
        wanted = None if state == "all" else cast(CaseState, state if state in STATES.values() else "open")
        store = self._service.store
        page = store.cases.page(wanted, _TOGETHER, None if after is None else str(after))
        counts = store.cases.counts()
        told = facts([(words, f"{counts[cast(CaseState, name)]:,}") for words, name in STATES.items() if name != "all"])
        if not page.records:
            return told + empty("No case waits." if wanted == "open" else "No case is here.")
        items = {case.item_id: store.items.get(case.item_id) for case in page.records}
        shown = joined(_case(case, items[case.item_id]) for case in page.records)
        older = NOTHING if page.after is None else button("Older cases", "older", item=page.after)
        return told + Markup('<ol class="fs-list">{}</ol>{}').format(shown, older)


def review_tab(service: Service) -> None:
    """The tab."""
    acts = ReviewTab(service)
    with gr.Tab("Review", id="review") as tab:
        with gr.Row(elem_classes="fs-bar-row"):
            state = gr.Radio(
                list(STATES.items()), value="open", show_label=False, container=False, elem_id="fs-state", scale=4
            )
            again = gr.Button("Refresh", size="sm", scale=0, min_width=110)
        note = gr.Textbox(
            label="Note", placeholder="kept with the next decision", max_length=2_000, elem_id="fs-note"
        )  # fmt: skip
        notice = area(name="fs-review-notice", clicks=False)
        cases = area(name="fs-cases")
    for listen in (tab.select, again.click, state.input):
        listen(on_ask(acts.show, 1), state, [cases, notice], **quiet())
    cases.click(on_click(acts.click, 2), [state, note], [cases, note, notice], **quiet())


def _case(case: Case, item: Item | None) -> Markup:
    told = [("why", _KINDS.get(case.kind, case.kind)), ("times", f"{case.count:,}"), ("since", _moment(case.opened))]
    if case.state != "open":
        told += [("decided", f"{case.state.replace('_', ' ')} by {case.decided_by}, {_moment(case.decided)}")]
        told += [("note", case.note)] if case.note else []
    acts = NOTHING
    if case.state == "open":
        number = str(case.number)
        acts = Markup('<div class="fs-acts">{}{}</div>').format(
            button("Keep", "keep", item=number), button("Take down", "take_down", kind="fs-danger", item=number)
        )
    reason = Markup('<p class="fs-why">{}</p>').format(case.reason) if case.reason else NOTHING
    title = "an item that is gone" if item is None else item.title or item.item_id
    return Markup(
        '<li class="fs-card fs-case" data-case="{}"><span class="fs-title">{}</span>'
        '<span class="fs-meta">item {}</span>{}{}{}{}</li>'
    ).format(case.number, title, case.item_id, facts(told), reason, NOTHING if item is None else _text(item.text), acts)


def _text(text: str) -> Markup:
    body = Markup('<p class="fs-text">{}</p>').format(text)
    return body if len(text) <= _SHORT else folded(f"{text[:_SHORT]}…", body)


def _moment(moment: float | None) -> str:
    return "" if moment is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(moment)) + " UTC"


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise SettingsError("a case has a whole number")
    return int(text)
