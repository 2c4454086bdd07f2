"""For whom the studio asks: a user of the store, or somebody described on the page."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import Any

from flanrec.errors import NotFoundError, SettingsError
from flanrec.serving.reporting import report
from flanrec.serving.service import Service
from flanrec.serving.settings import Learning
from flanrec.serving.store import Event
from flanrec.studio.clicks import Click

LIKE, RATING = "like", "rating"
"""Kinds of the events that the page reports; what a dislike is called, the settings of the service say."""


@dataclass(frozen=True)
class Somebody:
    """A user of the store, or somebody described.

    Attributes
    ----------
    user_id
        Of the store; None for one who is described.
    history
        Item ids, oldest first, of one who is described.
    refused
        Item ids that one who is described turned down.
    attributes
        Of one who is described.
    """

    user_id: str | None = None
    history: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def asked(self) -> dict[str, Any]:
        """As fields of `flanrec.serving.http.schemas.Recommend`."""
        if self.user_id is not None:
            return {"user_id": self.user_id}
        return {"history": list(self.history), "attributes": self.attributes, "exclude": list(self.refused)}

    def taking(self, item: str) -> Somebody:
        """With an item as the newest of the history."""
        return replace(self, history=(*_without(self.history, item), item), refused=_without(self.refused, item))

    def refusing(self, item: str) -> Somebody:
        """Without an item, and not wanting it."""
        return replace(self, history=_without(self.history, item), refused=(*_without(self.refused, item), item))

    def leaving(self, item: str) -> Somebody:
        """As if there had been nothing with an item."""
        return replace(self, history=_without(self.history, item), refused=_without(self.refused, item))


def attributes_of(text: str) -> dict[str, str]:
    """Attributes as they are written on the page, one a line.

    >>> attributes_of("age = 30\\noccupation: writer")
    {'age': '30', 'occupation': 'writer'}

    Raises
    ------
    SettingsError
        A line has no name or no value.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, _, value = line.replace(":", "=", 1).partition("=") if "=" not in line else line.partition("=")
        if not name.strip() or not value.strip():
            raise SettingsError(f"attributes, line {number}: write a name and a value, such as age = 30")
        found[name.strip()] = value.strip()
    return found


async def reacted(service: Service, somebody: Somebody, click: Click) -> Somebody:
    """Somebody after a like, a dislike or a rating: an event of a user of the store, or a line of a description.

    A described one takes what is liked, and what is rated as high as a like; the rest is turned down.

    Raises
    ------
    NotFoundError
        There is no such user, or no such item.
    SettingsError
        The rating is no number, or nobody was chosen.
    """
    if somebody.user_id is not None:
        if await asyncio.to_thread(service.store.users.get, somebody.user_id) is None:
            raise NotFoundError(f"there is no user {somebody.user_id!r} any more")
        await report(service, [_event(somebody.user_id, click, service.settings.learning)])
        return somebody
    live = service.models.get()
    live.place(click.item)
    rating = _rating(click)
    liked = click.act == LIKE if rating is None else rating >= live.recommender.settings.liked_rating
    return somebody.taking(click.item) if liked else somebody.refusing(click.item)


def _event(user_id: str, click: Click, learning: Learning) -> Event:
    rating = _rating(click)
    kind = RATING if rating is not None else LIKE
    if click.act == "dislike":
        if not learning.negative:
            raise SettingsError("no kind of event speaks against an item: name one in service.learning.negative")
        kind = learning.negative[0]
    return Event(user_id, click.item, time.time(), kind, rating)


def _rating(click: Click) -> float | None:
    if click.act != "rate":
        return None
    try:
        value = float(click.value)
    except ValueError:
        value = float("nan")
    if not -1e6 <= value <= 1e6:
        raise SettingsError("a rating is a number")
    return value


def _without(items: tuple[str, ...], item: str) -> tuple[str, ...]:
    return tuple(one for one in items if one != item)
