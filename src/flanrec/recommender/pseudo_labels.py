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

from flanrec.errors import SettingsError
from flanrec.recommender import requests
from flanrec.recommender.core import Recommender
from flanrec.recommender.tables import refuse_text, stored_ids

logger = logging.getLogger(__name__)


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

    Parameters
    ----------
    pairs
        Columns user_id and item_id, and probability where `Recommender.match` was asked already; pairs that the log has
        a rating of, and rows without a user, are left out.
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
        does not), weight (probability that the label is right), probability (of yes), prompt and target (the question
        and its answer in words), in the order of the pairs. `flanrec.data.labels.with_labels` puts the ratings into a
        log, and `Recommender.fit` takes prompt and target as examples.

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
    asked = unrated_events(recommender, users) if pairs is None else _unrated(recommender, pairs)
    persons, items = requests.pairs_of(recommender.parts, asked)
    if "probability" in asked.columns:
        chances = asked["probability"].cast(pl.Float64).to_numpy()
    else:
        chances = recommender.match_reading.probabilities(persons, items, progress)
    rows, liked = gated(chances, gate, most=most, balanced=balanced)
    dislike, like = typical_ratings(recommender)
    prompter = recommender.parts.prompter
    words = prompter.templates[0].wording.words
    kept = chances[rows]
    labelled: pl.DataFrame = asked[rows.tolist()]
    return labelled.drop("probability", strict=False).with_columns(
        pl.Series("rating", np.where(liked, like, dislike)),
        pl.Series("weight", np.where(liked, kept, 1 - kept)),
        pl.Series("probability", kept),
        pl.Series("prompt", [prompter.word(prompter.match(persons[at], items[at])).prompt for at in rows], pl.String),
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
    """Events of the log without a rating, of some users or of all: user_id, item_id and timestamp, each pair once."""
    events = recommender.parts.dataset.interactions
    if users is not None:
        known = stored_ids(users, events["user_id"].dtype)
        fit = [one for one in known if isinstance(one, str) == (events["user_id"].dtype == pl.String)]
        events = events.filter(pl.col("user_id").is_in(pl.Series(fit, dtype=events["user_id"].dtype).implode()))
    if "rating" in events.columns:
        events = events.filter(pl.col("rating").is_null())
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


def _unrated(recommender: Recommender, pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs that the log has no rating of, those without a user left out."""
    requests.pairs_of(recommender.parts, pairs.head(0))
    events = recommender.parts.dataset.interactions
    kept = [name for name in ("user_id", "item_id", "probability") if name in pairs.columns]
    open_pairs = pairs.select(kept).filter(pl.col("user_id").is_not_null())
    if "rating" in events.columns:
        rated = events.filter(pl.col("rating").is_not_null()).select(
            pl.col(name).cast(pl.String) for name in ("user_id", "item_id")
        )
        named = open_pairs.with_columns(pl.col(name).cast(pl.String).alias(f"_{name}") for name in rated.columns)
        open_pairs = named.join(
            rated, left_on=["_user_id", "_item_id"], right_on=["user_id", "item_id"], how="anti", maintain_order="left"
        ).select(kept)
    left_out = pairs.height - open_pairs.height
    if left_out:
        logger.info("%d of %d pairs are left out: they are rated already, or have no user", left_out, pairs.height)
    return open_pairs
