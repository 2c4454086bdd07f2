"""Users of the store, and of a request, as a model meets them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.people import Person
from flanrec.data.own_reviews import beside_events
from flanrec.data.profiles import as_texts
from flanrec.errors import NotFoundError
from flanrec.recommender.tables import stored_ids
from flanrec.serving.live import Live
from flanrec.serving.settings import Learning
from flanrec.serving.store.events import Past

_NOTHING = np.zeros(0, dtype=np.int64)


class Met(NamedTuple):
    """A user as a model meets them.

    Attributes
    ----------
    person
        With the events that are behaviour.
    unwanted
        int64 [n], catalogue indices of the items that they turned down.
    earlier
        int64 [n], catalogue indices of the items that they met in events which are too old for the person.
    """

    person: Person
    unwanted: NDArray[np.int64] = _NOTHING
    earlier: NDArray[np.int64] = _NOTHING


def newcomer(live: Live, history: Sequence[str] = (), attributes: Mapping[str, Any] | None = None) -> Person:
    """Somebody who is not stored, known by item ids or titles, oldest first.

    Raises
    ------
    NotFoundError
        An entry is neither.
    """
    try:
        items = [live.find(entry) for entry in history]
    except NotFoundError as problem:
        raise NotFoundError(f"history: {problem}") from None
    return Person.new(items, as_texts(attributes or {}))


def stored_person(
    live: Live, user_id: str, past: Past, attributes: Mapping[str, Any], learning: Learning, most: int
) -> Met:
    """A user of the store.

    Events with items that the model does not have, or that were deleted, are passed over. Of several events with one
    item the newest says whether it is unwanted.

    Parameters
    ----------
    most
        Events to take, the newest.
    """
    places, told = live.places, [event for event in past.events if event.event not in learning.ignored]
    refused = past.refused
    newest = {event.item_id: event.event in learning.unwanted for event in told} if refused is None else refused
    met = [
        (place, event)
        for event in told
        if event.event not in learning.unwanted and (place := places.get(event.item_id, -1)) >= 0 and live.open[place]
    ][-most:]
    items = [place for place, _ in met]
    written = {places[item]: text for item, text in past.reviews.items() if item in places}
    dtype = live.recommender.parts.dataset.interactions["user_id"].dtype
    person = Person(
        np.array(items, dtype=np.int64),
        np.array([np.nan if event.rating is None else event.rating for _, event in met], dtype=np.float32),
        as_texts(attributes),
        np.array([np.nan if event.timestamp is None else event.timestamp for _, event in met]),
        beside_events(items, written),
        stored_ids([user_id], dtype)[0],
    )
    unwanted = sorted(places[item] for item, against in newest.items() if against and item in places)
    others = {places[item] for item, against in (refused or {}).items() if not against and item in places}
    earlier = sorted(others - set(items))
    return Met(person, np.array(unwanted, dtype=np.int64), np.array(earlier, dtype=np.int64))
