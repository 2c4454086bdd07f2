"""The user profile: attributes, tastes and like rate, from the events handed in and nothing else.

A profile cannot know held-out events, because it is computed from a data set's own interactions:
pass the train part of a split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from flanrec.data.dataset import Dataset
from flanrec.data.own_reviews import beside_events, reviews_of_users

LIKED_RATING = 4.0
CATEGORIES = 3
TITLES = 5
REVIEWS = 2
FEWEST_FOR_DISLIKE = 3


@dataclass(frozen=True)
class Profile:
    """What is known of a user.

    Attributes
    ----------
    attributes
        Columns of the users table as text; those without a value are left out.
    favourite_categories
        Categories of liked events, the most frequent first.
    disliked_categories
        Categories seen at least three times of which most were not liked, less than the user likes
        items on the whole. Empty without ratings.
    liked
        Titles of liked events, the newest last.
    events
        Number of events.
    like_rate
        Share of the rated events that were liked; None without ratings.
    category_counts
        Every category of the events with its number, the most frequent first.
    reviews
        Titles of the newest events of which the user wrote something, with what that was; the newest last.
    """

    attributes: dict[str, str]
    favourite_categories: tuple[str, ...]
    disliked_categories: tuple[str, ...]
    liked: tuple[str, ...]
    events: int
    like_rate: float | None
    category_counts: tuple[tuple[str, int], ...] = ()
    reviews: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ItemFacts:
    """Titles and categories by catalogue index, taken out once for many profiles."""

    titles: list[str]
    categories: list[list[str]]


def item_facts(dataset: Dataset) -> ItemFacts:
    """The titles and categories of a data set's items."""
    return ItemFacts(dataset.items["title"].to_list(), dataset.items["category"].to_list())


def user_attributes(dataset: Dataset, user_id: Any) -> dict[str, str]:
    """The columns of a user's row as text, without those that have no value; empty for an unknown user."""
    if dataset.users is None:
        return {}
    return _attributes(dataset.users.filter(pl.col("user_id") == pl.lit(user_id, dtype=dataset.users["user_id"].dtype)))


def attributes_of_users(dataset: Dataset, user_ids: Sequence[Any]) -> dict[Any, dict[str, str]]:
    """The attributes of those of some users whom the users table has, as `user_attributes` gives them."""
    if dataset.users is None:
        return {}
    wanted = set(user_ids)
    return {row["user_id"]: _told(row) for row in dataset.users.iter_rows(named=True) if row["user_id"] in wanted}


def as_texts(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Attributes as text, without those that have no value.

    >>> as_texts({"age": 30, "tags": ["a", "b"], "town": " ", "job": None})
    {'age': '30', 'tags': 'a, b'}
    """
    texts = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value).strip()
        for name, value in attributes.items()
        if value is not None
    }
    return {name: text for name, text in texts.items() if text}


def profile_of(
    items: Sequence[int] | np.ndarray[Any, Any],
    ratings: Sequence[float] | np.ndarray[Any, Any] | None,
    facts: ItemFacts,
    attributes: dict[str, str] | None = None,
    liked_rating: float = LIKED_RATING,
    reviews: Sequence[str] = (),
) -> Profile:
    """Profile of one user from events given as arrays.

    Parameters
    ----------
    items
        Catalogue indices, oldest first.
    ratings
        As long as `items`, nan where there is none; None without ratings. An event without a rating counts
        as liked, since the user chose it, but not in the like rate.
    liked_rating
        The least rating that means a like.
    reviews
        What the user wrote of each event, "" for nothing; as long as `items`, or empty.
    """
    indices = [int(item) for item in items]
    stars = [float("nan")] * len(indices) if ratings is None else [float(rating) for rating in ratings]
    liked = [not rating < liked_rating for rating in stars]
    rated = [like for like, rating in zip(liked, stars, strict=True) if rating == rating]
    like_rate = sum(rated) / len(rated) if rated else None
    seen: Counter[str] = Counter()
    good: Counter[str] = Counter()
    for item, like in zip(indices, liked, strict=True):
        seen.update(facts.categories[item])
        if like:
            good.update(facts.categories[item])
    favourites = _most_frequent(good)
    disliked: list[str] = []
    if like_rate is not None:
        rates = {name: good[name] / count for name, count in seen.items() if count >= FEWEST_FOR_DISLIKE}
        bad = [name for name, rate in rates.items() if rate < 0.5 and rate < like_rate]
        disliked = sorted(bad, key=lambda name: (rates[name], -seen[name], name))
    titles = dict.fromkeys(
        facts.titles[item] for item, like in reversed(list(zip(indices, liked, strict=True))) if like
    )
    written = [(facts.titles[item], text) for item, text in zip(indices, reviews, strict=False) if text]
    top = tuple(name for name, _ in favourites if name not in disliked)[:CATEGORIES]
    return Profile(
        attributes=dict(attributes or {}),
        favourite_categories=top,
        disliked_categories=tuple(disliked[:CATEGORIES]),
        liked=tuple(reversed(list(titles)[:TITLES])),
        events=len(indices),
        like_rate=like_rate,
        category_counts=tuple(_most_frequent(seen)),
        reviews=tuple(written[-REVIEWS:]),
    )


def profile(dataset: Dataset, user_id: Any, liked_rating: float = LIKED_RATING) -> Profile:
    """Profile of one user from the interactions of `dataset`; an unknown user has no events."""
    return profiles(dataset, [user_id], liked_rating)[0]


def profiles(
    dataset: Dataset, user_ids: Sequence[Any] | None = None, liked_rating: float = LIKED_RATING
) -> list[Profile]:
    """Profiles of many users (all by default), in the order given."""
    sequences = dataset.sequences(user_ids)
    facts = item_facts(dataset)
    attributes = attributes_of_users(dataset, sequences.user_ids)
    written = reviews_of_users(dataset, sequences.user_ids)
    found = []
    for user, user_id in enumerate(sequences.user_ids):
        span = slice(sequences.offsets[user], sequences.offsets[user + 1])
        items = sequences.items[span]
        told = beside_events(items.tolist(), written.get(user_id, {}))
        known = attributes.get(user_id)
        found.append(profile_of(items, sequences.ratings[span], facts, known, liked_rating, told))
    return found


def _most_frequent(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _attributes(rows: pl.DataFrame) -> dict[str, str]:
    return _told(rows.row(0, named=True)) if rows.height else {}


def _told(row: dict[str, Any]) -> dict[str, str]:
    return as_texts({name: value for name, value in row.items() if name != "user_id"})
