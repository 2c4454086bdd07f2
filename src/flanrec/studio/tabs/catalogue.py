"""Catalogue: find items, read one, and see what is like it and how often it was taken."""

from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr
from markupsafe import Markup

from flanrec.errors import NotFoundError
from flanrec.serving.questions import Answer, SimilarQuestion
from flanrec.serving.service import Service
from flanrec.serving.store import Item
from flanrec.studio.clicks import Click, area, on_ask, on_click, quiet, then_show
from flanrec.studio.finding import items_found, picks_markup
from flanrec.studio.markup import button, empty, facts, joined

_FOUND, _LIKE = 30, 8


class CatalogueTab:
    """What the clicks of the tab do.

    Parameters
    ----------
    service
        Whose items are shown.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def search(self, words: str) -> tuple[Markup]:
        """Items with these words in title or text; the first ones for none."""
        found, more = await items_found(self._service, words, _FOUND, texts=True)
        return (picks_markup(found, "read", more) if found else empty("No item has these words."),)

    async def read(self, click: Click) -> tuple[Markup]:
        """An item."""
        store, item_id = self._service.store, click.item
        item = await asyncio.to_thread(store.items.get, item_id)
        if item is None:
            raise NotFoundError(f"there is no item {item_id!r}")
        kinds = await asyncio.to_thread(store.events.kinds_of, item_id)
        content, behaviour = await self._service.ask_many(
            [SimilarQuestion("", item_id, _LIKE), SimilarQuestion("", item_id, _LIKE, "behaviour")], counted=False
        )
        return (item_markup(item, kinds, content, behaviour),)


def catalogue_tab(service: Service) -> None:
    """The tab."""
    acts = CatalogueTab(service)
    with gr.Tab("Catalogue", id="catalogue") as tab:
        notice = area(name="fs-catalogue-notice", clicks=False)
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=280, elem_classes="fs-tight"):
                words = gr.Textbox(
                    label="Search", placeholder="words of a title or a text", max_length=200, elem_id="fs-search"
                )
                found = area(name="fs-found")
            with gr.Column(scale=4, min_width=320):
                item = area(empty("Choose an item to read it."), name="fs-item")
    for listen in (tab.select, words.change):
        listen(on_ask(acts.search, 1), words, [found, notice], trigger_mode="always_last", **quiet())
    for place in (found, item):
        then_show(place.click(on_click(acts.read, 1), [], [item, notice], **quiet()), "fs-item")


def item_markup(
    item: Item, kinds: dict[str, int], content: Answer | Exception, behaviour: Answer | Exception
) -> Markup:
    """An item with its text, how often it was taken, and what is like it."""
    told = [("id", item.item_id), *([("year", str(item.year))] if item.year is not None else [])]
    told += [("categories", ", ".join(item.category))] if item.category else []
    told += [(name, _plain(value)) for name, value in item.attributes.items()]
    told.append(("events", _taken(kinds)))
    text = Markup('<p class="fs-text">{}</p>').format(item.text) if item.text else empty("It has no text.")
    like = joined([_like("Similar by what they say", content), _like("Taken by those who took it", behaviour)])
    return Markup('<h2 class="fs-h fs-large">{}</h2>{}{}<div class="fs-pair">{}</div>').format(
        item.title or item.item_id, facts(told), text, like
    )


def _taken(kinds: dict[str, int]) -> str:
    named = [f"{count:,} {kind}" for kind, count in kinds.items() if kind]
    return f"{sum(kinds.values()):,}" + (f" ({', '.join(named)})" if named else "")


def _like(words: str, answer: Answer | Exception) -> Markup:
    head = Markup('<h3 class="fs-h">{}</h3>').format(words)
    if isinstance(answer, Exception) or answer.listed is None:
        return Markup("<section>{}{}</section>").format(head, empty("The model has no answer for this item yet."))
    live = answer.live
    titles = live.recommender.parts.catalogue.titles
    rows = joined(
        Markup("<li>{}</li>").format(button(titles[place], "read", kind="fs-pick", item=live.ids[place]))
        for place in answer.listed.items.tolist()
    )
    body = Markup('<ul class="fs-picks">{}</ul>').format(rows) if rows else empty("Nothing.")
    return Markup("<section>{}{}</section>").format(head, body)


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
