"""Users and items found by what somebody types, as buttons."""

from __future__ import annotations

import asyncio

from markupsafe import Markup
from pydantic import TypeAdapter

from flanrec.serving.http.asking import within
from flanrec.serving.http.fields import Words
from flanrec.serving.service import Service
from flanrec.serving.store import Item
from flanrec.studio.markup import NOTHING, button, empty, joined

FOUND = 12
"""Most that is shown of a search."""
_WORDS: TypeAdapter[str] = TypeAdapter(Words)


def plain(service: Service, text: str) -> str:
    """What somebody typed, without control characters and what is around it.

    Raises
    ------
    SettingsError
        It is longer than the service takes.
    """
    whole = (text or "").encode("utf-8", "replace").decode()
    words = " ".join(_WORDS.validate_python(whole).split())
    within("characters of the search", len(words), service.settings.limits.text)
    return words


async def users_markup(service: Service, begins: str) -> Markup:
    """Some users whose ids begin like this."""
    words = plain(service, begins)
    found = await asyncio.to_thread(service.store.users.beginning, words, FOUND + 1)
    if not found:
        return empty(f"No user begins with {words}." if words else "There are no users yet.")
    more = Markup('<span class="fs-more">and more</span>') if len(found) > FOUND else NOTHING
    shown = joined(button(user, "choose", kind="fs-chip", item=user) for user in found[:FOUND])
    return Markup('<div class="fs-chips">{}{}</div>').format(shown, more)


async def items_found(service: Service, words: str, limit: int, *, texts: bool) -> tuple[list[Item], bool]:
    """Some items with these words in the title, or in the text too, and whether there are more."""
    page = await asyncio.to_thread(
        lambda: service.store.items.page(None, limit, plain(service, words), texts=texts)
    )  # fmt: skip
    return list(page.records), page.after is not None


async def titles_markup(service: Service, words: str) -> Markup:
    """Some items to add to a history."""
    if not words.strip():
        return NOTHING
    found, more = await items_found(service, words, FOUND, texts=False)
    return picks_markup(found, "add", more) if found else empty("No title has these words.")


def picks_markup(found: list[Item], act: str, more: bool) -> Markup:
    """Items to click on."""
    rows = joined(
        Markup("<li>{}</li>").format(button(one.title or one.item_id, act, kind="fs-pick", item=one.item_id))
        for one in found
    )
    end = Markup('<li class="fs-more">and more: type further words</li>') if more else NOTHING
    return Markup('<ul class="fs-picks">{}{}</ul>').format(rows, end)
