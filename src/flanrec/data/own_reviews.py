"""What users wrote of the items they met, found by user and item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from flanrec.data.dataset import Dataset


def reviews_of_users(dataset: Dataset, user_ids: Sequence[Any]) -> Mapping[Any, dict[int, str]]:
    """The newest review of each item by some users.

    Only reviews of events that the data set has are found, so one of a held-out event is not.

    Returns
    -------
    mapping
        By user id as the data set has it, of those who wrote something: texts by catalogue index.
    """
    if dataset.reviews is None:
        return {}
    dtype = dataset.reviews["user_id"].dtype
    wanted = pl.DataFrame({"user_id": pl.Series(list(user_ids)).cast(dtype, strict=False)})
    places = dataset.items.select("item_id", pl.int_range(pl.len(), dtype=pl.Int64).alias("item"))
    written = (
        dataset.reviews.join(wanted, on="user_id", how="semi", maintain_order="left")
        .join(dataset.interactions.select("user_id", "item_id"), on=["user_id", "item_id"], how="semi",
              maintain_order="left")
        .join(places, on="item_id", maintain_order="left")
    )  # fmt: skip
    if "timestamp" in written.columns:
        written = written.sort("timestamp", nulls_last=False, maintain_order=True)
    found: dict[Any, dict[int, str]] = {}
    for user, item, text in written.select("user_id", "item", "text").iter_rows():
        found.setdefault(user, {})[item] = text
    return found


def beside_events(items: Sequence[int], written: Mapping[int, str]) -> tuple[str, ...]:
    """What one user wrote, put beside the user's events; of several events with one item, beside the last.

    Parameters
    ----------
    items
        Catalogue indices of the events, oldest first.
    written
        Texts by catalogue index, as `reviews_of_users` gives them.

    Returns
    -------
    tuple of str
        A text for each event, "" for nothing; empty where nothing at all was written.

    Examples
    --------
    >>> beside_events([4, 7, 4], {4: "Warm"})
    ('', '', 'Warm')
    """
    if not written:
        return ()
    left = dict(written)
    return tuple(left.pop(item, "") for item in reversed(items))[::-1]
