"""The task that one user's events pose: the last event is the answer, those before it are the facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from flanrec.data.dataset import Dataset
from flanrec.data.own_reviews import beside_events, reviews_of_users
from flanrec.data.profiles import LIKED_RATING, item_facts, profile_of, user_attributes
from flanrec.errors import DataError, NotFoundError
from flanrec.instructions import tasks
from flanrec.instructions.families import FAMILIES
from flanrec.instructions.profiles import profile_text, taste_summary, without_answer
from flanrec.instructions.tasks import Task
from flanrec.instructions.template import Wording


@dataclass(frozen=True)
class Asked:
    """What a user says beside the events.

    Attributes
    ----------
    wish, avoid, profile : str
        Words for the fields of the same names.
    noun, nouns : str
        What one item and several are called.
    candidates : int
        How many candidates a pick task offers.
    """

    wish: str = ""
    avoid: str = ""
    profile: str = ""
    noun: str = ""
    nouns: str = ""
    candidates: int = 10


def task_of_user(
    dataset: Dataset,
    user_id: Any,
    family: str,
    *,
    asked: Asked | None = None,
    seed: int = 42,
    wording: Wording | None = None,
) -> Task:
    """Build a user's task of a family from a data set.

    Parameters
    ----------
    dataset : Dataset
        Interactions, items and, for review_rating, reviews.
    user_id : any
        A user of the data set.
    family : str
        A key of ``FAMILIES``.
    asked : Asked, optional
        A wish and the like. The wish family without one takes the answer's first category.
    seed : int
        Of the candidates that a pick task offers beside the answer.
    wording : Wording, optional
        With it, the profile is worded from the events before the last one, unless `asked` has a profile.

    Raises
    ------
    NotFoundError
        When the user or the family is unknown.
    DataError
        When the data lack what the family is about, such as ratings or texts.
    """
    if family not in FAMILIES:
        raise NotFoundError(f"unknown task family '{family}'; known are {', '.join(FAMILIES)}")
    asked = asked or Asked()
    naming = {"noun": asked.noun, "nouns": asked.nouns}
    if family == "review_rating":
        return _review_task(dataset, user_id, naming)
    events = dataset.sequences([user_id])
    indices = events.of(0)
    if len(indices) == 0:
        raise NotFoundError(f"user {user_id!r} has no interactions in '{dataset.name}'; check the id")
    titles = dataset.items["title"].to_list()
    history = [titles[index] for index in indices[:-1]]
    answer = dataset.items.row(int(indices[-1]), named=True)
    title: str = answer["title"]
    ratings = events.ratings
    liked = [name for name, value in zip(history, ratings, strict=False) if value >= LIKED_RATING]
    disliked = [name for name, value in zip(history, ratings, strict=False) if value < LIKED_RATING]
    unrated = [] if liked or disliked else history
    about = asked.profile
    summary = ""
    if wording is not None:
        attributes = user_attributes(dataset, user_id)
        written = next(iter(reviews_of_users(dataset, [user_id]).values()), {})
        said = beside_events(indices[:-1].tolist(), written)
        known = profile_of(indices[:-1], ratings[:-1], item_facts(dataset), attributes, reviews=said)
        known = without_answer(known, title)
        about = about or profile_text(wording, known, categories=0 if family == "profile" else 3)
        summary = taste_summary(wording, known)
    category: list[str] = list(answer["category"] or [])
    last_rating = float(ratings[-1])
    if family == "sequential":
        return tasks.sequential(history, title, profile=about, **naming)
    if family == "wish":
        wanted = asked.wish or _first(category, f"item '{title}' has no category to wish for; give a wish")
        return tasks.wish(wanted, title, avoid=asked.avoid, history=history, profile=about, **naming)
    if family == "pick":
        offered = _candidates(titles, indices, title, asked.candidates, seed)
        return tasks.pick(offered, title, history=history, wish=asked.wish, profile=about, **naming)
    if family == "match":
        liked_it = bool(last_rating >= LIKED_RATING) if last_rating == last_rating else True
        return tasks.match(
            title,
            liked_it,
            history=unrated,
            liked=liked,
            disliked=disliked,
            profile=about,
            wish=asked.wish,
            category=category,
            text=answer["text"] or "",
            **naming,
        )
    if family == "rating":
        low, high = _scale(dataset.interactions, "interactions")
        if last_rating != last_rating:
            raise DataError(f"user {user_id!r} did not rate '{title}', the last item; rating is about ratings")
        return tasks.rating(
            title,
            last_rating,
            low=low,
            high=high,
            history=unrated,
            liked=liked,
            disliked=disliked,
            profile=about,
            category=category,
            text=answer["text"] or "",
            **naming,
        )
    if family == "profile":
        return tasks.profile(history, summary or None, attributes=about, liked=liked, disliked=disliked, **naming)
    if family == "item_tokens":
        return tasks.item_tokens(wish=asked.wish, avoid=asked.avoid, profile=about, target=title, **naming)
    text = answer["text"] or _first([], f"item '{title}' has no text, which {family} is about; give items a text")
    if family == "item_from_description":
        return tasks.item_from_description(text, title, category=category, **naming)
    return tasks.description_from_item(title, text, category=category, year=answer.get("year") or "", **naming)


def _first(values: Sequence[str], otherwise: str) -> str:
    if not values:
        raise DataError(otherwise)
    return values[0]


def _candidates(
    titles: Sequence[str], seen: np.ndarray[Any, np.dtype[np.int64]], title: str, count: int, seed: int
) -> list[str]:
    rng = np.random.default_rng(seed)
    others = list(dict.fromkeys(titles[index] for index in np.setdiff1d(np.arange(len(titles)), seen)))
    others = [other for other in others if other != title]
    drawn = [others[index] for index in rng.permutation(len(others))[: max(count - 1, 0)]]
    drawn.insert(int(rng.integers(len(drawn) + 1)), title)
    return drawn


def _scale(frame: pl.DataFrame, table: str) -> tuple[float, float]:
    """Return the lowest and highest rating of a table."""
    if "rating" not in frame.columns or frame["rating"].drop_nulls().is_empty():
        raise DataError(f"the {table} have no ratings, which this family is about; give a column rating")
    ratings = frame["rating"].cast(pl.Float64).drop_nulls().to_numpy()
    return float(ratings.min()), float(ratings.max())


def _review_task(dataset: Dataset, user_id: Any, naming: dict[str, str]) -> Task:
    if dataset.reviews is None:
        raise DataError(f"'{dataset.name}' has no reviews, which review_rating is about; give a reviews table")
    low, high = _scale(dataset.reviews, "reviews")
    own = dataset.reviews.filter(
        (pl.col("user_id") == user_id) & (pl.col("text") != "") & pl.col("rating").is_not_null()
    )
    if own.is_empty():
        raise NotFoundError(f"user {user_id!r} has no rated review in '{dataset.name}'; check the id")
    review = own.row(-1, named=True)
    titles = dataset.items.filter(pl.col("item_id") == review["item_id"])["title"]
    title = titles[0] if len(titles) else ""
    return tasks.review_rating(review["text"], float(review["rating"]), low=low, high=high, title=title, **naming)
