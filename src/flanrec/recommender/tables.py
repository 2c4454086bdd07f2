"""Tables that go into a recommender and come out of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flanrec.data import Dataset
from flanrec.data.columns import WHOLE_NUMBER, same_id_type
from flanrec.errors import DataError, NotFoundError, SettingsError


def recommendations(
    user_ids: Sequence[Any],
    items: NDArray[np.int64],
    scores: NDArray[np.float32],
    dataset: Dataset,
    item_ids: Sequence[Any],
) -> pl.DataFrame:
    """Ranked catalogue indices as rows of user_id, item_id, score, rank; ids in the types they came in.

    Parameters
    ----------
    items, scores
        [n_users, k], best first, -1 where there is no item.
    item_ids
        Of the catalogue that was ranked.
    """
    row, column = np.nonzero(items >= 0)
    user_type = dataset.interactions["user_id"].dtype
    fits = all(user is None or isinstance(user, str) == (user_type == pl.String) for user in user_ids)
    return pl.DataFrame(
        {
            "user_id": pl.Series(
                [user_ids[at] for at in row.tolist()], dtype=user_type if fits else None, strict=False
            ),
            "item_id": pl.Series(
                [item_ids[at] for at in items[row, column].tolist()], dtype=dataset.items["item_id"].dtype
            ),
            "score": pl.Series(scores[row, column].astype(np.float64)),
            "rank": pl.Series(column + 1, dtype=pl.Int64),
        }
    )


def with_items_of(part: Dataset, items: pl.DataFrame) -> Dataset:
    """A part of a log with another items table, so that catalogue indices mean the same.

    Raises
    ------
    NotFoundError
        The part has interactions with items that are not in the table.
    """
    ids = as_type_of(items["item_id"], part.interactions["item_id"])
    unknown = part.interactions.filter(~ids.is_in(items["item_id"].implode()))["item_id"]
    if len(unknown):
        raise NotFoundError(
            f"{part.name} has {unknown.n_unique()} items that are not in the catalogue, such as {unknown[0]!r}; "
            "give one items table that has them all"
        )
    return replace(part, interactions=part.interactions.with_columns(ids), items=items)


def as_type_of(known: pl.Series, ids: pl.Series) -> pl.Series:
    """Item ids in the type of the catalogue's.

    Raises
    ------
    DataError
        They cannot be of that type.
    """
    kept, changed = same_id_type(known, ids, "item_id")
    if kept.dtype != known.dtype:
        raise DataError(f"the item ids are {ids.dtype}, those of the catalogue {known.dtype}; give them one type")
    return changed


def refuse_text(**given: Iterable[Any] | None) -> None:
    """Raise SettingsError where one text stands for several ids, which would be read letter by letter."""
    for name, value in given.items():
        if isinstance(value, (str, bytes)):
            raise SettingsError(f"{name} is the text {value!r}; give a list, such as [{value!r}]")


def stored_ids(ids: Sequence[Any], dtype: pl.DataType) -> list[Any]:
    """Ids in the type of a stored column where they can be: "196" and 196 are the same user.

    >>> stored_ids(["196", 7, "u7"], pl.Int64()), stored_ids([196], pl.String())
    ([196, 7, 'u7'], ['196'])
    """
    if dtype.is_integer():
        return [int(one) if isinstance(one, str) and re.fullmatch(WHOLE_NUMBER, one) else one for one in ids]
    if dtype == pl.String:
        return [str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in ids]
    return list(ids)


def joined(train: Dataset, later: Dataset) -> Dataset:
    """The interactions of two parts of one log together, in input order, with the reviews of both."""
    frame = pl.concat([train.interactions, later.interactions], how="diagonal_relaxed")
    both = train.with_interactions(frame.sort("row", maintain_order=True))
    if train.reviews is None or later.reviews is None:
        return both
    reviews = pl.concat([train.reviews, later.reviews], how="diagonal_relaxed").unique(maintain_order=True)
    return replace(both, reviews=reviews)
