"""Splits into train, validation and test, and the check that nothing leaks from one into another.

All parts share the items and users tables; the interactions differ, and train has only the reviews of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import polars as pl

from flanrec.data.dataset import Dataset
from flanrec.data.sequences import sorted_ids
from flanrec.errors import DataError, SettingsError

SplitName = Literal["leave-one-out", "temporal", "cold-items", "new-users", "few-users"]
FEWEST_EVENTS = 3  # one for each part


@dataclass(frozen=True, eq=False)
class Split:
    """Three data sets with disjoint interactions; `name` says by which rule they were made."""

    train: Dataset
    validation: Dataset
    test: Dataset
    name: SplitName

    def parts(self) -> dict[str, Dataset]:
        """The data sets by their names."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def leave_one_out(dataset: Dataset) -> Split:
    """Hold out each user's last event for testing and the one before for validation.

    Events are ordered by timestamp, then by input row. Users with fewer than three events stay in
    train whole. An item that a user comes back to may be in train and in test.
    """
    ordered = _from_end(dataset)
    held_out = pl.col("_events") >= FEWEST_EVENTS
    part = pl.when(held_out & (pl.col("_from_end") == 0)).then(2).when(held_out & (pl.col("_from_end") == 1)).then(1)
    return _split(dataset, ordered.with_columns(part.otherwise(0).alias("_part")), "leave-one-out")


def hold_out_last(dataset: Dataset, count: int = 1) -> tuple[Dataset, Dataset]:
    """Set each user's last events apart, by (timestamp, row); users with fewer than two more keep all.

    Parameters
    ----------
    count
        Events a user.

    Returns
    -------
    train, held_out
        Share items and users; each has the reviews of its own events.
    """
    marked = _from_end(dataset).filter((pl.col("_events") >= count + 2) & (pl.col("_from_end") < count))
    held_out = dataset.interactions.filter(pl.col("row").is_in(marked["row"].implode()))
    kept = dataset.interactions.filter(~pl.col("row").is_in(marked["row"].implode()))
    train, later = _with_own_reviews([dataset.with_interactions(kept.sort("row")), dataset.with_interactions(held_out)])
    return train, later


def temporal(dataset: Dataset, validation: float = 0.1, test: float = 0.1) -> Split:
    """Cut at two moments for everybody: train before the first, test from the second on.

    Parameters
    ----------
    validation, test
        Shares of the interactions, met as nearly as tied times allow: events of the same time are
        never torn apart, they all go to the later part.

    Raises
    ------
    DataError
        There are no timestamps.
    SettingsError
        The shares are not positive or leave nothing for training.
    """
    _check_shares(validation, test)
    times = dataset.interactions["timestamp"]
    if times.len() == 0 or times.null_count() == times.len():
        raise DataError(
            "a temporal split needs timestamps; this data has none. Use leave-one-out, which takes the row order."
        )
    ascending = times.sort().to_numpy()
    first = ascending[min(round(len(ascending) * (1 - validation - test)), len(ascending) - 1)]
    second = ascending[min(round(len(ascending) * (1 - test)), len(ascending) - 1)]
    time = pl.col("timestamp")
    part = pl.when(time >= second).then(2).when(time >= first).then(1).otherwise(0)
    return _split(dataset, dataset.interactions.with_columns(part.alias("_part")), "temporal")


def cold_items(
    dataset: Dataset,
    share: float = 0.15,
    seed: int = 42,
    item_ids: Iterable[Any] | None = None,
    validation: float = 0.1,
) -> Split:
    """Hold out every interaction of items that training must never see.

    Parameters
    ----------
    share
        Share of the items with interactions that are drawn for testing.
    seed
        Of the draw, by ``numpy.random.default_rng`` over the ids in ascending order.
    item_ids
        The items for testing, instead of a draw.
    validation
        Share drawn, after the test items, from the other items.

    Raises
    ------
    SettingsError
        A share is not between 0 and 1, or an id has no interactions.
    """
    known = sorted_ids(dataset.interactions["item_id"].unique(maintain_order=True).to_list())
    held = _draw(known, share, validation, seed, item_ids, "item")
    return _by_group(dataset, "item_id", *held, "cold-items")


def new_users(dataset: Dataset, share: float = 0.1, seed: int = 42, validation: float | None = None) -> Split:
    """Hold out every interaction of users that training must never see.

    Parameters
    ----------
    share
        Share of the users drawn for testing.
    seed
        Of the draw, as in `cold_items`.
    validation
        Share drawn for validation; as `share` by default.

    Raises
    ------
    SettingsError
        A share is not between 0 and 1.
    """
    held = _draw(dataset.user_ids, share, share if validation is None else validation, seed, None, "user")
    return _by_group(dataset, "user_id", *held, "new-users")


def few_users(dataset: Dataset, share: float = 0.1, seed: int = 42, users: int | None = None) -> Split:
    """Train on the complete histories of a few drawn users; all others are for testing, none for validation.

    Parameters
    ----------
    share
        Share of the users drawn for training, at least one user.
    seed
        Of the draw, ``numpy.random.default_rng(seed).choice`` over the ids in ascending order.
    users
        So many users instead of a share: the first of ``numpy.random.default_rng(seed).permutation``, so that the users
        of a smaller number are among those of a larger one.

    Raises
    ------
    SettingsError
        The share is not between 0 and 1, or there are no more than so many users.

    Examples
    --------
    >>> log = {"user_id": [1, 1, 2, 2, 3, 3, 4, 4], "item_id": [7, 8] * 4}
    >>> split = few_users(Dataset.from_frames(log, {"item_id": [7, 8], "title": ["A", "B"]}), share=0.5)
    >>> len(split.train.user_ids), len(split.test.user_ids), split.validation.user_ids
    (2, 2, [])
    """
    if not 0 < share < 1:
        raise SettingsError(f"share is {share}; it must be above 0 and below 1.")
    known, rng = dataset.user_ids, np.random.default_rng(seed)
    if users is not None:
        if not 0 < users < max(len(known), 2):
            raise SettingsError(f"users is {users}; it must be at least 1 and below the {len(known)} there are.")
        places = rng.permutation(len(known))[:users]
    else:
        places = rng.choice(len(known), max(1, round(share * len(known))) if known else 0, replace=False)
    drawn = {known[at] for at in places}
    return _by_group(dataset, "user_id", [], [one for one in known if one not in drawn], "few-users")


def assert_no_leak(split: Split) -> None:
    """Check that the parts are disjoint and keep the promise of the split's rule.

    Raises
    ------
    DataError
        An interaction is in two parts; or, by the rule: a user's held-out event is not later than
        those before it, a time is in two parts or out of order, a cold item or a new user is in two parts.
    """
    parts = [part.interactions for part in (split.train, split.validation, split.test)]
    _assert_disjoint(parts, ["row"], split.name)
    key = [str(name) for name in ("user_id", "item_id", "timestamp", "event") if name in parts[0].columns]
    _assert_disjoint(parts, key, split.name)
    if split.name == "cold-items":
        _assert_disjoint(parts, ["item_id"], split.name)
    elif split.name in ("new-users", "few-users"):
        _assert_disjoint(parts, ["user_id"], split.name)
    elif split.name == "temporal":
        filled = [part["timestamp"] for part in parts if part.height]
        for earlier, later in pairwise(filled):
            if earlier.max() >= later.min():  # type: ignore[operator]
                raise DataError("temporal split leaks: an earlier part reaches into the time of a later one.")
    else:
        together = pl.concat([part.with_columns(pl.lit(at).alias("_part")) for at, part in enumerate(parts)])
        ordered = together.sort("user_id", "timestamp", "row")
        back = (pl.col("_part").diff().over("user_id") < 0).fill_null(False)
        if ordered.select(back.any()).item():
            raise DataError("leave-one-out split leaks: a user's training event is later than a held-out one.")


def _assert_disjoint(parts: list[pl.DataFrame], key: list[str], name: str) -> None:
    for at, part in enumerate(parts):
        for other in parts[at + 1 :]:
            shared = part.join(other, on=key, how="semi", nulls_equal=True)
            if shared.height:
                raise DataError(f"{name} split leaks: {shared.height} rows of two parts share {', '.join(key)}.")


def _check_shares(validation: float, test: float) -> None:
    if not (0 < validation < 1 and 0 < test < 1 and validation + test < 1):
        raise SettingsError(
            f"shares are validation={validation}, test={test}; both must be above 0, their sum below 1."
        )


def _draw(
    known: list[Any], share: float, validation: float, seed: int, given: Iterable[Any] | None, what: str
) -> tuple[list[Any], list[Any]]:
    """The ids for validation and for test."""
    _check_shares(validation, share)
    rng = np.random.default_rng(seed)
    if given is None:
        test = [known[at] for at in rng.choice(len(known), round(share * len(known)), replace=False)] if known else []
    else:
        test = list(dict.fromkeys(given))
        missing = sorted_ids(list(set(test) - set(known)))
        if missing:
            shown = ", ".join(repr(one) for one in missing[:5])
            raise SettingsError(
                f"{len(missing)} {what} ids have no interactions, such as {shown}. Check their type and spelling."
            )
    held = set(test)
    rest = [one for one in known if one not in held]
    if not rest:
        return [], test
    return [rest[at] for at in rng.choice(len(rest), round(validation * len(rest)), replace=False)], test


def _by_group(dataset: Dataset, column: str, validation: list[Any], test: list[Any], name: SplitName) -> Split:
    dtype = dataset.interactions[column].dtype
    part = (
        pl.when(pl.col(column).is_in(pl.Series(test, dtype=dtype).implode()))
        .then(2)
        .when(pl.col(column).is_in(pl.Series(validation, dtype=dtype).implode()))
        .then(1)
        .otherwise(0)
    )
    return _split(dataset, dataset.interactions.with_columns(part.alias("_part")), name)


def _from_end(dataset: Dataset) -> pl.DataFrame:
    """The interactions with each event's place from the end of its user's history, and the user's events."""
    user = pl.col("user_id")
    return dataset.interactions.sort("user_id", "timestamp", "row", maintain_order=True).with_columns(
        pl.int_range(pl.len(), dtype=pl.Int64).reverse().over("user_id").alias("_from_end"),
        user.len().over("user_id").alias("_events"),
    )


def _split(dataset: Dataset, marked: pl.DataFrame, name: SplitName) -> Split:
    train, validation, test = (
        dataset.with_interactions(marked.filter(pl.col("_part") == part).sort("row", maintain_order=True))
        for part in range(3)
    )
    train, validation, test = _with_own_reviews([train, validation, test])
    return Split(train, validation, test, name)


def _with_own_reviews(parts: Sequence[Dataset]) -> tuple[Dataset, ...]:
    """Leave each part the reviews of its own events, so that none tells of events that come later.

    A review names a user and an item. Where the user met the item in several parts, it stays with the last of them.
    """
    found: list[Dataset] = []
    pair = ["user_id", "item_id"]
    for at, part in enumerate(parts):
        if part.reviews is not None:
            reviews = part.reviews.join(part.interactions.select(pair), on=pair, how="semi", maintain_order="left")
            for later in parts[at + 1 :]:
                reviews = reviews.join(later.interactions.select(pair), on=pair, how="anti", maintain_order="left")
            part = replace(part, reviews=reviews)
        found.append(part)
    return tuple(found)
