"""Recommend: choose or describe somebody, see what they get and why, and answer for them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import gradio as gr
from markupsafe import Markup

from flanrec.errors import NotFoundError, SettingsError
from flanrec.serving.service import Service
from flanrec.studio.cards import about_markup, history_markup, instruction_markup, list_markup
from flanrec.studio.clicks import Click, area, on_ask, on_click, quiet, then_show
from flanrec.studio.finding import plain, titles_markup, users_markup
from flanrec.studio.looking import Dials, look
from flanrec.studio.markup import NOTHING, empty
from flanrec.studio.somebody import Somebody, attributes_of, reacted

STORED, DESCRIBED = "A user of the store", "Somebody described"
_HINT = empty("Choose a user of the store, or describe somebody.")

Shown = tuple[Any, ...]
"""Whom, about the list, the list, the history, the instruction."""


class RecommendTab:
    """What the clicks of the tab do.

    Parameters
    ----------
    service
        Which is asked.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def users(self, begins: str) -> tuple[Markup]:
        """Users to choose from."""
        return (await users_markup(self._service, begins),)

    async def titles(self, words: str) -> tuple[Markup]:
        """Items to add to a history."""
        return (await titles_markup(self._service, words),)

    async def choose(self, click: Click, *dials: Any) -> Shown:
        """Take a user of the store."""
        return await self._shown(Somebody(click.item), dials)

    async def add(self, click: Click, somebody: Somebody, attributes: str, *dials: Any) -> Shown:
        """Put an item into a described history."""
        return await self._shown(_described(somebody, attributes).taking(click.item), dials)

    async def ask(self, kind: str, begins: str, somebody: Somebody, attributes: str, *dials: Any) -> Shown:
        """Recommend to the one who was chosen, whose id was typed, or who is described."""
        if kind == DESCRIBED:
            return await self._shown(_described(somebody, attributes), dials)
        if somebody.user_id is None:
            typed = plain(self._service, begins)
            if not typed:
                raise SettingsError("choose a user first, or describe somebody")
            if await asyncio.to_thread(self._service.store.users.get, typed) is None:
                raise NotFoundError(f"there is no user {typed!r}")
            somebody = Somebody(typed)
        return await self._shown(somebody, dials)

    async def again(self, kind: str, somebody: Somebody, attributes: str, *dials: Any) -> Shown:
        """The same with other settings; nothing while nobody was chosen."""
        if kind == STORED and somebody.user_id is None:
            return tuple(gr.skip() for _ in range(5))
        return await self.ask(kind, "", somebody, attributes, *dials)

    async def react(self, click: Click, somebody: Somebody, attributes: str, *dials: Any) -> Shown:
        """A like, a dislike or a rating, and the list after it; or an entry of a description taken out."""
        if somebody.user_id is None:
            somebody = _described(somebody, attributes)
        if click.act == "leave":
            return await self._shown(somebody.leaving(click.item), dials)
        return await self._shown(await reacted(self._service, somebody, click), dials)

    async def switch(self, kind: str) -> Shown:
        """From users of the store to descriptions, or back."""
        return (
            gr.update(visible=kind == STORED), gr.update(visible=kind == DESCRIBED), Somebody(), _HINT, NOTHING,
            NOTHING, NOTHING,
        )  # fmt: skip

    async def _shown(self, somebody: Somebody, dials: tuple[Any, ...]) -> Shown:
        seen = await look(self._service, somebody, _dials(*dials))
        return (
            somebody,
            about_markup(seen, somebody),
            list_markup(seen),
            history_markup(seen, leaving=somebody.user_id is None),
            instruction_markup(seen.person.instructions),
        )


def recommend_tab(service: Service, page: gr.Blocks, somebody: gr.State) -> None:
    """The tab; whom it is for is kept in `somebody`."""
    names, acts = service.models.names, RecommendTab(service)
    with gr.Tab("Recommend", id="recommend"), gr.Row(equal_height=False):
        with gr.Column(scale=2, min_width=300, elem_classes="fs-panel"):
            kind = gr.Radio([STORED, DESCRIBED], value=STORED, label="For whom", elem_id="fs-kind")
            with gr.Column(visible=True, elem_classes="fs-tight") as stored:
                begins = gr.Textbox(label="User id", placeholder="how it begins", max_length=200, elem_id="fs-user")
                users = area(name="fs-users")
            with gr.Column(visible=False, elem_classes="fs-tight") as described:
                words = gr.Textbox(
                    label="Add to the history", placeholder="words of a title", max_length=200, elem_id="fs-add"
                )
                titles = area(name="fs-titles")
                attributes = gr.Textbox(label="Attributes", placeholder="age = 30", lines=2, elem_id="fs-attributes")
            wish = gr.Textbox(label="Wish", placeholder="something slow and strange", elem_id="fs-wish")
            avoid = gr.Textbox(label="Avoid", placeholder="what is not wanted", elem_id="fs-avoid")
            diversity = gr.Slider(0, 1, 0, step=0.05, label="Diversity", elem_id="fs-diversity")
            long_tail = gr.Slider(0, 1, 0, step=0.05, label="Long tail", elem_id="fs-tail")
            model = gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1)
            go = gr.Button("Recommend", variant="primary", elem_id="fs-go")
        with gr.Column(scale=4, min_width=320):
            notice = area(name="fs-notice", clicks=False)
            about = area(_HINT, name="fs-about", clicks=False)
            listed = area(name="fs-listed")
        with gr.Column(scale=2, min_width=260):
            history = area(name="fs-history")
            instruction = area(name="fs-instruction", clicks=False)

    dials = [wish, avoid, diversity, long_tail, model]
    shown = [somebody, about, listed, history, instruction]
    whom = [somebody, attributes, *dials]
    page.load(on_ask(acts.users, 1), begins, [users, notice], **quiet())
    begins.change(on_ask(acts.users, 1), begins, [users, notice], trigger_mode="always_last", **quiet())
    words.change(on_ask(acts.titles, 1), words, [titles, notice], trigger_mode="always_last", **quiet())
    kind.change(on_ask(acts.switch, 7), kind, [stored, described, *shown, notice], **quiet())
    chosen = users.click(on_click(acts.choose, 5), dials, [*shown, notice], **quiet())
    then_show(chosen, "fs-about")
    titles.click(on_click(acts.add, 5), whom, [*shown, notice], **quiet())
    for click in (listed, history):
        click.click(on_click(acts.react, 5), whom, [*shown, notice], **quiet())
    asking = on_ask(acts.ask, 5)
    then_show(go.click(asking, [kind, begins, *whom], [*shown, notice], **quiet()), "fs-about")
    for box in (begins, wish, avoid):
        box.submit(asking, [kind, begins, *whom], [*shown, notice], **quiet())
    for slider in (diversity, long_tail):
        slider.release(on_ask(acts.again, 5), [kind, *whom], [*shown, notice], **quiet())
    model.input(on_ask(acts.again, 5), [kind, *whom], [*shown, notice], **quiet())


def _described(somebody: Somebody, attributes: str) -> Somebody:
    return replace(somebody, user_id=None, attributes=attributes_of(attributes))


def _dials(wish: str, avoid: str, diversity: float, long_tail: float, model: str) -> Dials:
    return Dials(model or "", wish or "", avoid or "", float(diversity or 0), float(long_tail or 0))
