"""The way back from the service to its model: what the store kept is what arrived since the model was fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, TypeVar

import polars as pl

from flanrec.recommender import Recommender
from flanrec.recommender.catalogue_changes import changed_catalogue
from flanrec.recommender.forgetting import without_users
from flanrec.serving.settings import Learning
from flanrec.serving.store import Page, Store
from flanrec.serving.tables import typed_id, unlike, user_table

Record = TypeVar("Record")

_TOGETHER = 1_000


class Arrived(NamedTuple):
    """What there is to learn, as `Recommender.update` takes it.

    Attributes
    ----------
    interactions
        Events that are behaviour, of items that are there.
    items
        Those that the model does not know; None for none.
    users
        All whose attributes are known; None where the model has no attributes of anybody.
    touched
        Whether the model was changed already: users left its log, or its items have other texts.
    """

    interactions: pl.DataFrame
    items: pl.DataFrame | None
    users: pl.DataFrame | None
    touched: bool


def take_up(recommender: Recommender, store: Store, learning: Learning) -> Arrived:
    """Bring a saved recommender to where the store is as far as that needs no learning, and say what there is to learn.

    Users who were deleted leave its log, and its items have the texts that they have in the store.

    Parameters
    ----------
    recommender
        It is changed.

    Raises
    ------
    StoreError
        The store cannot be used.
    """
    before = recommender.parts
    events = store.events.interactions()
    events = events.filter(~pl.col("event").is_in(learning.not_behaviour))
    recommender.adopt(without_users(recommender, sorted(store.users.forgotten())))
    _make_room(recommender, events["user_id"])
    items = _all(store.items.page)
    dataset = recommender.parts.dataset
    fresh = unlike(items, dataset)
    known = fresh["item_id"].is_in(dataset.items["item_id"].implode())
    if known.any():
        recommender.adopt(changed_catalogue(recommender, fresh.filter(known)))
    there = [item.item_id for item in items if typed_id(item.item_id, dataset.items["item_id"].dtype) is not None]
    events = events.filter(pl.col("item_id").is_in(there))
    if "event" not in dataset.interactions.columns:
        events = events.drop("event")
    new = fresh.filter(~known)
    people = None if dataset.users is None else user_table(_all(store.users.page), dataset.users.schema)
    return Arrived(events, new if new.height else None, people, recommender.parts is not before)


def _make_room(recommender: Recommender, users: pl.Series) -> None:
    """Where some user has an id that is no whole number, take all users' ids as texts."""
    parts = recommender.parts
    dtype = parts.dataset.interactions["user_id"].dtype
    if all(typed_id(user, dtype) is not None for user in users.unique().to_list()):
        return
    tables = {
        name: table.with_columns(pl.col("user_id").cast(pl.String))
        for name in ("interactions", "users", "reviews")
        if (table := getattr(parts.dataset, name)) is not None
    }
    recommender.adopt(replace(parts, dataset=replace(parts.dataset, **tables)))


def _all(page: Callable[[str | None, int], Page[Record]]) -> list[Record]:
    found: list[Record] = []
    after: str | None = None
    while True:
        part = page(after, _TOGETHER)
        found += part.records
        after = part.after
        if after is None:
            return found
