"""Active learning: which users, items or pairs to ask about next, so that the answers tell most.

Users and pairs are those that the match probability is least sure of (uncertainty sampling: Lewis and Gale, "A
sequential algorithm for training text classifiers", SIGIR 1994), without questions that are all alike (maximal marginal
relevance). Items for new users are those whose answers tell most about the answers to all others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flanrec.catalogue.people import Person
from flanrec.errors import SettingsError
from flanrec.ranking.diversity import mmr, unit_rows
from flanrec.recommender import requests
from flanrec.recommender.core import Recommender
from flanrec.recommender.tables import refuse_text
from flanrec.recommender.telling import telling_items

By = Literal["users", "items", "pairs"]
BY: tuple[By, ...] = ("users", "items", "pairs")
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def ask_next(
    recommender: Recommender,
    k: int,
    by: By = "pairs",
    *,
    users: Sequence[Any] | None = None,
    balance: float = 0.3,
    pool: int = 2000,
    seed: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> pl.DataFrame:
    """Choose what to ask about next; the same every time.

    Parameters
    ----------
    k
        Most questions.
    by
        ``pairs``: would this user like this item? Candidates are unrated events, then items that the user has not met,
        drawn by popularity. ``users``: whose taste is least certain, by the mean entropy of such pairs. ``items``: what
        to ask anybody who is new.
    users
        Who can be asked, known or not; for items those of whom one at least has not met it. By default all users.
    balance
        From 0, where users or pairs may be all alike, to 1, where they only differ; items are unlike by themselves.
    pool
        Pairs that the match probability is asked about; of more users than that some are drawn. For items how many of
        the best known ones are considered.
    seed
        Of the draws; the settings' own by default.
    progress
        Called with the number of pairs done since the last call.

    Returns
    -------
    polars.DataFrame
        rank from 1, and for pairs user_id, item_id, title, probability (of yes) and entropy (bits), for users user_id,
        events and entropy, for items item_id, title, events and information (share of the variance of all answers that
        the answer explains beyond those before).

    Raises
    ------
    SettingsError
        ``by`` is unknown, a single text is given, or a number is out of range.
    """
    if by not in BY:
        raise SettingsError(f"what to ask by is {by!r}; use one of {', '.join(BY)}")
    if k < 1 or pool < 1:
        raise SettingsError(f"k is {k} and pool {pool}; both must be at least 1")
    refuse_text(users=users)
    ids = recommender.parts.dataset.user_ids if users is None else list(dict.fromkeys(users))
    if by == "items":
        return _items(recommender, k, None if users is None else requests.known_people(recommender.parts, ids), pool)
    rng = np.random.default_rng(recommender.settings.seed if seed is None else seed)
    if len(ids) > pool:
        ids = [ids[at] for at in np.sort(rng.choice(len(ids), pool, replace=False))]
    persons = requests.known_people(recommender.parts, ids)
    asked = _Asked.drawn(recommender, persons, max(1, pool // max(len(ids), 1)), rng)
    chances = recommender.match_reading.probabilities(
        [persons[at] for at in asked.owners], asked.items.tolist(), progress
    )
    unsure = entropy(chances)
    tastes = taste_vectors(persons, recommender.parts.unit_texts)
    if by == "users":
        return _users(ids, persons, asked.owners, unsure, tastes, k, balance)
    vectors = np.hstack([recommender.parts.unit_texts[asked.items], tastes[asked.owners]])
    chosen = choose(unsure, vectors, k, balance)
    catalogue = recommender.parts.catalogue
    return pl.DataFrame(
        {
            "rank": np.arange(1, len(chosen) + 1),
            "user_id": _named([ids[at] for at in asked.owners[chosen]], ids),
            "item_id": [catalogue.item_ids[at] for at in asked.items[chosen]],
            "title": [catalogue.titles[at] for at in asked.items[chosen]],
            "probability": chances[chosen],
            "entropy": unsure[chosen],
        },
        schema_overrides={"item_id": recommender.parts.dataset.items["item_id"].dtype},
    )


def entropy(chances: Floats) -> Floats:
    """Entropy of yes or no in bits, of probabilities of yes.

    Examples
    --------
    >>> entropy(np.array([0.5, 1.0, 0.0])).tolist()
    [1.0, 0.0, 0.0]
    """
    both = np.stack([chances, 1 - chances])
    return np.asarray(-(both * np.log2(np.where(both > 0, both, 1.0))).sum(axis=0) + 0.0)


def choose(scores: Floats, vectors: NDArray[np.floating[Any]], k: int, balance: float) -> Ints:
    """The places of at most `k` candidates, the first first, that score well and are unlike each other.

    Parameters
    ----------
    scores
        float64 [n]
    vectors
        float [n, d]
    """
    if not len(scores):
        return np.zeros(0, dtype=np.int64)
    places = np.arange(len(scores), dtype=np.int64)[None, :]
    found: Ints = mmr(scores[None, :], vectors, places, min(k, len(scores)), balance)[0]
    return np.asarray(found[found >= 0])


def taste_vectors(persons: Sequence[Person], texts: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean text of each person's items at length one, zeros for no history: float32 [n_persons, d]."""
    means = [texts[person.items].mean(axis=0) if len(person.items) else np.zeros(texts.shape[1]) for person in persons]
    return np.asarray(unit_rows(np.array(means).reshape(len(persons), texts.shape[1])), dtype=np.float32)


@dataclass(frozen=True)
class _Asked:
    """Pairs that could be asked about: places of people, and catalogue indices."""

    owners: Ints
    items: Ints

    @classmethod
    def drawn(cls, recommender: Recommender, persons: Sequence[Person], each: int, rng: np.random.Generator) -> _Asked:
        """Of each person's unrated items those met last, and else items they have not met, drawn by popularity."""
        parts = recommender.parts
        weights = parts.catalogue.popularity + 1.0
        owners, items = [], []
        for at, person in enumerate(persons):
            own: list[int] = []
            if parts.rates.rated:
                # What was rated in another event is no question.
                open_events = np.isnan(person.ratings)
                open_events &= ~np.isin(person.items, person.items[~open_events])
                own = list(dict.fromkeys(person.items[open_events][::-1].tolist()))[:each]
            closed = weights.copy()
            closed[person.items] = 0
            count = min(each - len(own), int(np.count_nonzero(closed)))
            if count > 0:
                # The largest of these keys are a draw without replacement (Efraimidis and Spirakis, 2006).
                keys = np.where(closed > 0, np.log(rng.random(len(closed))) / np.maximum(closed, 1.0), -np.inf)
                own += np.argpartition(-keys, count - 1)[:count].tolist()
            owners += [at] * len(own)
            items += own
        return cls(np.array(owners, dtype=np.int64), np.array(items, dtype=np.int64))


def _users(
    ids: list[Any], persons: Sequence[Person], owners: Ints, unsure: Floats, tastes: NDArray[np.float32], k: int,
    balance: float,
) -> pl.DataFrame:  # fmt: skip
    counts = np.bincount(owners, minlength=len(ids))
    means = np.bincount(owners, weights=unsure, minlength=len(ids)) / np.maximum(counts, 1)
    chosen = choose(means, tastes, k, balance)
    return pl.DataFrame(
        {
            "rank": np.arange(1, len(chosen) + 1),
            "user_id": _named([ids[at] for at in chosen], ids),
            "events": [len(persons[at].items) for at in chosen],
            "entropy": means[chosen],
        }
    )


def _items(recommender: Recommender, k: int, persons: Sequence[Person] | None, pool: int) -> pl.DataFrame:
    parts = recommender.parts
    known = parts.catalogue.popularity
    open_items = np.flatnonzero(known > 0)
    if persons is not None:
        met = [np.unique(person.items) for person in persons]
        by = np.bincount(np.concatenate([*met, np.zeros(0, dtype=np.int64)]), minlength=len(known))
        open_items = open_items[by[open_items] < len(persons)]
    among = np.sort(open_items[np.argsort(-known[open_items], kind="stable")[:pool]])
    items, shares = telling_items(parts.people.log, k, recommender.settings.liked_rating, among)
    return pl.DataFrame(
        {
            "rank": np.arange(1, len(items) + 1),
            "item_id": [parts.catalogue.item_ids[at] for at in items],
            "title": [parts.catalogue.titles[at] for at in items],
            "events": known[items].astype(np.int64),
            "information": shares,
        },
        schema_overrides={"item_id": parts.dataset.items["item_id"].dtype},
    )


def _named(chosen: Sequence[Any], ids: Sequence[Any]) -> pl.Series:
    """Ids of one type: whole numbers where all that were given are, else texts."""
    if ids and all(isinstance(one, int) for one in ids):
        return pl.Series(list(chosen), dtype=pl.Int64)
    return pl.Series([str(one) for one in chosen], dtype=pl.String)
