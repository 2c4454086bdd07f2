"""Interactions as contiguous integers: each user's events in order of time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from flanrec.data.columns import WHOLE_NUMBER


@dataclass(frozen=True, eq=False)
class Sequences:
    """What users did as contiguous integers, for code that computes.

    Attributes
    ----------
    user_ids, item_ids
        The ids that the indices stand for; items in catalogue order.
    offsets
        int64[n_users + 1]; the events of user ``u`` are at ``offsets[u]:offsets[u + 1]``.
    items
        int64[n_events], catalogue indices, each user's events in order of time, then of input row.
    ratings
        float32[n_events], nan where there is none.
    timestamps
        float64[n_events] in seconds, nan where there is none.
    """

    user_ids: list[Any]
    item_ids: list[Any]
    offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    ratings: npt.NDArray[np.float32]
    timestamps: npt.NDArray[np.float64]

    def __len__(self) -> int:
        """Number of users."""
        return len(self.user_ids)

    def of(self, user_index: int) -> npt.NDArray[np.int64]:
        """The catalogue indices of one user's events, oldest first (a view)."""
        return self.items[self.offsets[user_index] : self.offsets[user_index + 1]]


def build_sequences(interactions: pl.DataFrame, items: pl.DataFrame, wanted: list[Any]) -> Sequences:
    """The events of the `wanted` users, in that order; see `Dataset.sequences`."""
    dtype = interactions["user_id"].dtype
    users = pl.DataFrame({"user_id": _cast_ids(wanted, dtype), "user": np.arange(len(wanted), dtype=np.int64)})
    catalogue = items.select("item_id", pl.int_range(pl.len(), dtype=pl.Int64).alias("item"))
    columns = ["user_id", "item_id", "timestamp", "row"]
    if "rating" in interactions.columns:
        columns.append("rating")
    events = interactions.select(columns).join(users, on="user_id").join(catalogue, on="item_id")
    events = events.sort("user", "timestamp", "row")
    counts = np.bincount(events["user"].to_numpy(), minlength=len(wanted))
    offsets = np.zeros(len(wanted) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    if "rating" in columns:
        ratings = events["rating"].cast(pl.Float32).fill_null(float("nan")).to_numpy()
    else:
        ratings = np.full(events.height, np.nan, dtype=np.float32)
    times = events["timestamp"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return Sequences(wanted, items["item_id"].to_list(), offsets, events["item"].to_numpy(), ratings, times)


def sorted_ids(ids: Sequence[Any]) -> list[Any]:
    """Ids in ascending order; texts that are all whole numbers are ordered by their number.

    >>> sorted_ids(["10", "9"]), sorted_ids(["b", "a"])
    (['9', '10'], ['a', 'b'])
    """
    if ids and all(isinstance(one, str) and re.match(WHOLE_NUMBER, one) for one in ids):
        return sorted(ids, key=int)
    try:
        return sorted(ids)
    except TypeError:
        return list(ids)


def _cast_ids(ids: list[Any], dtype: pl.DataType) -> pl.Series:
    """Ids as a column of `dtype`; an id of another type stands for no user and becomes null."""
    if dtype == pl.String:
        return pl.Series("user_id", [one if isinstance(one, str) else None for one in ids], dtype=pl.String)
    numbers = [int(one) if isinstance(one, (int, np.integer)) and not isinstance(one, bool) else None for one in ids]
    fits = [one if one is not None and -(2**63) <= one < 2**63 else None for one in numbers]
    return pl.Series("user_id", fits, dtype=pl.Int64).cast(dtype, strict=False)
