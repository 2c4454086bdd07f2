"""What re-ranking must know of the items: names of groups, popularity, age and vectors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from flanrec.data import Dataset
from flanrec.errors import DataError, SettingsError
from flanrec.metrics.lists import BoolArray, FloatArray
from flanrec.ranking.diversity import Similarity, cosine
from flanrec.ranking.exposure import head_items

DAY = 86_400.0
CATEGORY = "category"
_NO_GROUPS = frozenset({"item_id", "title", "text"})


@dataclass(frozen=True, eq=False)
class ItemFacts:
    """Facts about each item, in catalogue order.

    Parameters
    ----------
    ids
        Item ids; rules name items by ``str(id)``.
    popularity
        ``float[n_items]``, training interactions.
    groups
        Column name to the values of each item, such as ``{"category": [("Drama", "War"), ()]}``.
    vectors
        ``float[n_items, d]`` whose cosine says how alike two items are; by default the shares of their categories.
    ages
        ``"first_seen"`` and ``"year"``, where known, to ``float64[n_items]`` in days; NaN where unknown.
    """

    ids: Sequence[Any]
    popularity: npt.NDArray[np.number[Any]]
    groups: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=lambda: MappingProxyType({}))
    vectors: npt.NDArray[np.floating[Any]] | None = None
    ages: Mapping[str, FloatArray] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        lengths = {"popularity": len(self.popularity)} | {name: len(rows) for name, rows in self.groups.items()}
        lengths |= {f"age by {name}": len(ages) for name, ages in self.ages.items()}
        if self.vectors is not None:
            lengths["vectors"] = len(self.vectors)
        wrong = [f"{name} {length}" for name, length in lengths.items() if length != len(self.ids)]
        if wrong:
            raise DataError(f"there are {len(self.ids)} item ids, but facts of another number: {', '.join(wrong)}")

    @classmethod
    def from_dataset(
        cls, dataset: Dataset, vectors: npt.NDArray[np.floating[Any]] | None = None, now: float | None = None
    ) -> ItemFacts:
        """Take the facts from a training log: give it the training part only.

        Parameters
        ----------
        now
            Seconds since 1970 at which ages count; by default the time of the newest event. An item that nobody has
            touched was first seen now. A year counts from its first of January.
        """
        items = dataset.items
        log = dataset.interactions.group_by("item_id").agg(pl.len().alias("events"), pl.col("timestamp").min())
        joined = items.select("item_id").join(log, on="item_id", how="left", maintain_order="left")
        events = joined["events"].fill_null(0).cast(pl.Float64).to_numpy()
        newest = dataset.interactions["timestamp"].max()
        time = now if now is not None else None if newest is None else float(str(newest))
        ages: dict[str, FloatArray] = {}
        if time is not None:
            first = joined["timestamp"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
            age = np.maximum(time - first, 0.0) / DAY
            ages["first_seen"] = np.where(events == 0, 0.0, age)
            if "year" in items.columns:
                years = items["year"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
                ages["year"] = np.maximum(time / DAY - (years - 1970.0) * 365.2425, 0.0)
        groups = {
            column: [_texts(value) for value in items[column].to_list()]
            for column in items.columns
            if column not in _NO_GROUPS
        }
        return cls(dataset.item_ids, events, groups, vectors, ages)

    def __len__(self) -> int:
        """Number of items."""
        return len(self.ids)

    def members(self, column: str, value: str) -> BoolArray:
        """Return ``bool[n_items]``: the item has the value; nobody has a value that does not occur.

        Raises
        ------
        SettingsError
            When there is no such column.
        """
        if column not in self._places:
            known = ", ".join(sorted(self._places)) or "none"
            raise SettingsError(f"the items have no column {column!r} to group by; they have: {known}")
        mask = np.zeros(len(self), dtype=np.bool_)
        mask[self._places[column].get(value, [])] = True
        return mask

    def values_of(self, column: str) -> list[str]:
        """Return the values that occur in a column, sorted."""
        return list(self._places[column])

    def index(self, item: str) -> int | None:
        """Return the catalogue index of the item whose id reads like this, or None."""
        return self._index.get(item)

    @cached_property
    def tail(self) -> BoolArray:
        """``bool[n_items]``: outside the smallest set of items with 80 % of the events."""
        return np.logical_not(head_items(self.popularity))

    @cached_property
    def category_shares(self) -> FloatArray:
        """``float64[n_items, n_categories]``: an item is shared equally by its categories; 0 without any."""
        names = self._places.get(CATEGORY, {})
        shares = np.zeros((len(self), len(names)))
        for column, places in enumerate(names.values()):
            shares[places, column] = 1.0
        return np.asarray(shares / np.maximum(shares.sum(axis=1, keepdims=True), 1.0))

    @cached_property
    def likeness(self) -> npt.NDArray[np.floating[Any]]:
        """``float[n_items, d]``: `vectors`, or else `category_shares`."""
        if self.vectors is not None:
            return self.vectors
        if self.category_shares.shape[1] == 0:
            raise SettingsError("diversity needs vectors or categories of the items, and there are neither")
        return self.category_shares

    @cached_property
    def similarity(self) -> Similarity:
        """How alike items are; see `flanrec.ranking.diversity.cosine`."""
        return cosine(self.likeness)

    @cached_property
    def _places(self) -> dict[str, dict[str, list[int]]]:
        places: dict[str, dict[str, list[int]]] = {}
        for column, rows in self.groups.items():
            found: dict[str, list[int]] = defaultdict(list)
            for item, values in enumerate(rows):
                for value in dict.fromkeys(values):
                    found[value].append(item)
            places[column] = dict(sorted(found.items()))
        return places

    @cached_property
    def _index(self) -> dict[str, int]:
        return {str(one): place for place, one in enumerate(self.ids)}


def _texts(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return tuple(map(str, value)) if isinstance(value, (list, tuple)) else (str(value),)
