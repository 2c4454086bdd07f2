"""Pseudo-labels: pairs that the match probability is sure of, as ratings and instructions to learn from.

A round of self-training (Scudder, "Probability of error of some adaptive pattern-recognition machines", 1965; Lee,
"Pseudo-label", ICML 2013 workshop) labels what nobody rated, and fits again on what was rated and what was labelled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flanrec.catalogue.people import Person, people
from flanrec.data.splits import hold_out_last
from flanrec.errors import SettingsError
from flanrec.recommender import requests
from flanrec.recommender.core import Recommender
from flanrec.recommender.tables import refuse_text, stored_ids

logger = logging.getLogger(__name__)

_PAIR = ["user_id", "item_id"]


def pseudo_labels(
    recommender: Recommender,
    pairs: pl.DataFrame | None = None,
    *,
    users: Sequence[Any] | None = None,
    gate: float = 0.9,
    most: int | None = None,
    balanced: bool = True,
    progress: Callable[[int], None] | None = None,
) -> pl.DataFrame:
    """Label the pairs whose calibrated match probability of yes is at least `gate`, or at most ``1 - gate``.

    Each user's newest event gets no label and is in no prompt: the next fit sets it apart (`hold_out_last`), to be
    measured on.

    Parameters
    ----------
    pairs
        Columns user_id and item_id, and probability where `Recommender.match` was asked already; those that
        `unrated_pairs` leaves out get no label.
    users
        Instead of pairs: whose unrated events are labelled; an unknown user has none. Without both, all users'.
    gate
        Above 0.5, and below 1.
    most
        Most labels, the surest first; all by default.
    balanced
        As many of yes as of no: without it a log where most pairs are liked gets hardly anything but likes.
    progress
        Called with the number of pairs done since the last call.

    Returns
    -------
    polars.DataFrame
        user_id, item_id, timestamp (of events), rating (the most frequent one of the log that means a like, or that
        does not), weight (probability that the label is right), probability (of yes), prompt and target (the question,
        after what happened before an event, and its answer in words), in the order of the pairs.
        `flanrec.data.labels.with_labels` puts the ratings into a log, and `Recommender.fit` takes prompt and target as
        examples.

    Raises
    ------
    SettingsError
        The gate is not between 0.5 and 1, both or a single text are given, or there shall be fewer than one label.
    NotFoundError
        An item is unknown.
    """
    if pairs is not None and users is not None:
        raise SettingsError("give either pairs or users whose unrated events are labelled")
    check_gate(gate, most)
    refuse_text(users=users)
    if pairs is None:
        asked = unrated_events(recommender, users)
    else:
        kept = [name for name in ("user_id", "item_id", "probability") if name in pairs.columns]
        asked = unrated_pairs(recommender, pairs).select(kept)
    persons, items = requests.pairs_of(recommender.parts, asked)
    if "probability" in asked.columns:
        chances = asked["probability"].cast(pl.Float64).to_numpy()
    else:
        chances = recommender.match_reading.probabilities(persons, items, progress)
    rows, liked = gated(chances, gate, most=most, balanced=balanced)
    dislike, like = typical_ratings(recommender)
    prompter = recommender.parts.prompter
    words = prompter.templates[0].wording.words
    sure, told = chances[rows], _earlier(recommender, [persons[at] for at in rows], [items[at] for at in rows])
    labelled: pl.DataFrame = asked[rows.tolist()]
    return labelled.drop("probability", strict=False).with_columns(
        pl.Series("rating", np.where(liked, like, dislike)),
        pl.Series("weight", np.where(liked, sure, 1 - sure)),
        pl.Series("probability", sure),
        pl.Series("prompt", [prompter.word(prompter.match(*one)).prompt for one in told], pl.String),
        pl.Series("target", [words["yes"] if yes else words["no"] for yes in liked], pl.String),
    )


def gated(
    chances: NDArray[np.float64], gate: float, *, most: int | None = None, balanced: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which probabilities of yes pass a gate, rising, and whether each means yes.

    Of too many the surest are kept, the earlier one of equal ones.

    Examples
    --------
    >>> rows, liked = gated(np.array([0.95, 0.5, 0.02, 0.99]), 0.9)
    >>> rows.tolist(), liked.tolist()
    ([2, 3], [False, True])
    """
    sides = [np.flatnonzero(chances >= gate), np.flatnonzero(chances <= 1 - gate)]
    sure = np.abs(chances - 0.5)
    sides = [side[np.argsort(-sure[side], kind="stable")] for side in sides]
    if balanced:
        count = min(*map(len, sides), len(chances) if most is None else most // 2)
        rows = np.concatenate([side[:count] for side in sides])
    else:
        both = np.sort(np.concatenate(sides))
        rows = both[np.argsort(-sure[both], kind="stable")][:most]
    rows = np.sort(rows).astype(np.int64)
    return rows, chances[rows] >= gate


def check_gate(gate: float, most: int | None) -> None:
    """Raise SettingsError where a gate says nothing, or lets no label through."""
    if not 0.5 < gate < 1:
        raise SettingsError(
            f"the gate is {gate}; it must be above 0.5, where a pair is as good as undecided, and below 1"
        )
    if most is not None and most < 1:
        raise SettingsError(f"at most {most} labels are asked for; ask for one at least")


def unrated_events(recommender: Recommender, users: Sequence[Any] | None = None) -> pl.DataFrame:
    """Events that can be labelled, of some users or of all: user_id, item_id and timestamp, each pair once.

    They have no rating, are of no item that the user rated in another event, and no user's newest, which the next fit
    sets apart.
    """
    log = recommender.parts.dataset
    events = hold_out_last(log)[0].interactions
    if users is not None:
        known = stored_ids(users, events["user_id"].dtype)
        fit = [one for one in known if isinstance(one, str) == (events["user_id"].dtype == pl.String)]
        events = events.filter(pl.col("user_id").is_in(pl.Series(fit, dtype=events["user_id"].dtype).implode()))
    if "rating" in events.columns:
        rated = log.interactions.filter(pl.col("rating").is_not_null())
        events = events.join(rated, on=["user_id", "item_id"], how="anti", maintain_order="left")
    return events.select("user_id", "item_id", "timestamp").unique(
        ["user_id", "item_id"], keep="last", maintain_order=True
    )


def typical_ratings(recommender: Recommender) -> tuple[float, float]:
    """The most frequent rating of the log that means no like, and that means one, the higher of equal ones.

    Where there is none, the least rating that means a like, and one below it.
    """
    ratings, least = recommender.parts.people.log.ratings, recommender.settings.liked_rating
    found = []
    for side, other in ((ratings[ratings < least], least - 1), (ratings[ratings >= least], least)):
        values, counts = np.unique(side, return_counts=True)
        found.append(float(values[len(counts) - 1 - np.argmax(counts[::-1])]) if len(values) else other)
    return found[0], found[1]


def unrated_pairs(recommender: Recommender, pairs: pl.DataFrame) -> pl.DataFrame:
    """The rows of a table with user_id and item_id that can be labelled.

    Pairs that the log has a rating of, users' newest events, which the next fit sets apart, and rows without a user are
    left out.

    Raises
    ------
    DataError
        A column is missing.
    """
    requests.pairs_of(recommender.parts, pairs.head(0))
    log = recommender.parts.dataset
    learnt, apart = hold_out_last(log)
    closed = _pairs(apart.interactions).join(_pairs(learnt.interactions), on=_PAIR, how="anti")
    if "rating" in log.interactions.columns:
        closed = pl.concat([closed, _pairs(log.interactions.filter(pl.col("rating").is_not_null()))])
    named = pairs.filter(pl.col("user_id").is_not_null()).with_columns(
        pl.col(name).cast(pl.String).alias(f"_{name}") for name in _PAIR
    )
    found = named.join(
        closed, left_on=[f"_{name}" for name in _PAIR], right_on=_PAIR, how="anti", maintain_order="left"
    ).select(pairs.columns)
    left_out = pairs.height - found.height
    if left_out:
        logger.info(
            "%d of %d pairs are left out: they are rated already, a user's newest event, or without a user",
            left_out, pairs.height,
        )  # fmt: skip
    return found


def _pairs(events: pl.DataFrame) -> pl.DataFrame:
    """Users and items as texts."""
    return events.select(pl.col(name).cast(pl.String) for name in _PAIR)


def _earlier(recommender: Recommender, persons: Sequence[Person], items: Sequence[int]) -> list[tuple[Person, int]]:
    """Each person as the next fit learns of them, before they last met the item if they did, and the item."""
    ids = list(dict.fromkeys(person.user_id for person in persons))
    learnt = dict(zip(ids, people(hold_out_last(recommender.parts.dataset)[0], ids), strict=True))
    found = []
    for person, item in zip(persons, items, strict=True):
        known = learnt[person.user_id]
        places = np.flatnonzero(known.items == item)
        found.append((known.before(int(places[-1])) if len(places) else known, item))
    return found
