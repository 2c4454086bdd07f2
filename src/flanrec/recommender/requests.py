"""What a call names, looked up: user ids and titles as people, item ids as places in the catalogue."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flanrec.catalogue import Catalogue
from flanrec.catalogue.people import Person
from flanrec.errors import DataError, SettingsError
from flanrec.recommender.parts import Parts
from flanrec.recommender.tables import refuse_text, stored_ids

logger = logging.getLogger(__name__)


def known_people(parts: Parts, user_ids: Sequence[Any]) -> list[Person]:
    """Users with their stored histories; an unknown id is a user without any."""
    return parts.people.find(stored_ids(user_ids, parts.dataset.interactions["user_id"].dtype))


def person_of(parts: Parts, history: Iterable[Any], attributes: dict[str, str] | None = None) -> Person:
    """A user known by item ids or titles alone, oldest first.

    Raises
    ------
    NotFoundError
        An entry is neither; the message names the closest titles.
    """
    return Person.new([parts.find(entry) for entry in history], attributes)


def one_of(parts: Parts, user: Any, history: Iterable[Any] | None, attributes: dict[str, str] | None) -> Person:
    """The one person of a call that names a user or a history.

    Raises
    ------
    SettingsError
        Neither or both are given, or the history is a single text.
    NotFoundError
        An entry of the history is unknown.
    """
    if (user is None) == (history is None):
        raise SettingsError("give either a user or a history")
    refuse_text(history=history)
    return known_people(parts, [user])[0] if history is None else person_of(parts, history, attributes)


def all_of(
    parts: Parts, users: Sequence[Any] | None, history: Iterable[Any] | None, attributes: dict[str, str] | None
) -> tuple[list[Any], list[Person]]:
    """Ids and people of a call that names users or a history; the id of a history is None.

    Raises
    ------
    SettingsError
        Neither or both are given, or one of them is a single text.
    NotFoundError
        An entry of the history is unknown.
    """
    if (users is None) == (history is None):
        raise SettingsError("give either users or a history")
    refuse_text(users=users, history=history)
    if users is None:
        return [None], [person_of(parts, history or (), attributes)]
    persons = known_people(parts, users)
    warn_of_strangers(persons)
    return list(users), persons


def basis_of(person: Person, worded: bool) -> str:
    """What a list rests on first: ``history``, ``words``, ``attributes``, or else ``popularity``.

    Parameters
    ----------
    worded
        Whether a wish or an aversion was said.
    """
    if len(person.items):
        return "history"
    return "words" if worded else "attributes" if person.attributes else "popularity"


def warn_of_strangers(persons: Sequence[Person]) -> None:
    """Log how many people have no history, if any, and what their lists rest on instead."""
    strangers = [basis_of(person, False) for person in persons if not len(person.items)]
    if strangers:
        told = ", ".join(f"{strangers.count(basis)} by {basis}" for basis in sorted(set(strangers)))
        logger.warning("%d of %d users have no history; ranked %s", len(strangers), len(persons), told)


def pairs_of(parts: Parts, pairs: pl.DataFrame) -> tuple[list[Person], list[int]]:
    """The person and the catalogue index of each row of a table with user_id and item_id.

    Raises
    ------
    DataError
        A column is missing.
    NotFoundError
        An item is unknown.
    """
    missing = [name for name in ("user_id", "item_id") if name not in pairs.columns]
    if missing:
        raise DataError(f"pairs lack the column {', '.join(missing)}; they have {', '.join(pairs.columns)}")
    ids = pairs["user_id"].unique(maintain_order=True).to_list()
    known = dict(zip(ids, known_people(parts, ids), strict=True))
    items = [parts.catalogue.index_of(item) for item in pairs["item_id"].to_list()]
    return [known[user] for user in pairs["user_id"].to_list()], items


def allowed_items(catalogue: Catalogue, only: Iterable[Any] | None, without: Iterable[Any]) -> NDArray[np.bool_] | None:
    """Which items may come, bool [n_items]; None for all of them.

    Raises
    ------
    SettingsError
        One text stands for several ids.
    NotFoundError
        An id is unknown.
    """
    refuse_text(only=only, without=without)
    closed = [catalogue.index_of(item) for item in without]
    if only is None and not closed:
        return None
    allowed = np.full(len(catalogue), only is None)
    allowed[[catalogue.index_of(item) for item in only or ()]] = True
    allowed[closed] = False
    return allowed


def check_sources(reading: str, sources: bool) -> None:
    """Raise SettingsError where a reading is asked for sources that it has not."""
    if sources and reading != "fused":
        raise SettingsError(f"reading {reading!r} has no sources to tell apart; ask for them with reading 'fused'")


def check_k(k: int) -> None:
    """Raise SettingsError where a list would have no place for an item."""
    if k < 1:
        raise SettingsError(f"k is {k}; it must be at least 1")
