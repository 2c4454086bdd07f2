"""A fitted recommender against held-out interactions: its readings as rankings, its match as probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from flanrec.data import Dataset
from flanrec.errors import DataError, SettingsError
from flanrec.evaluation.matching import evaluate_match
from flanrec.evaluation.protocol import evaluate_generation, evaluate_ranking
from flanrec.evaluation.report import Report
from flanrec.metrics import UserItems
from flanrec.recommender import Asking, Calibration, Reading, Recommender
from flanrec.recommender.tables import with_items_of

Progress = Callable[[int], None]
TOGETHER = 256
"""Users asked at once."""


def evaluate_model(
    recommender: Recommender,
    test: Dataset,
    ks: Sequence[int] = (5, 10),
    reading: Reading = "fused",
    users: int | None = None,
    seed: int = 42,
    *,
    asking: Asking = Asking(),  # noqa: B008
    name: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Rank the whole catalogue for the users of a test, items they have seen removed.

    Parameters
    ----------
    test
        Held-out interactions of items that the recommender knows. The histories are what the recommender
        knows of the users; one it does not know is asked as a stranger, and counted in the notes.
    ks
        Cut-offs; beyond the catalogue the lists are as long as they can be.
    reading
        For ``generate`` the report also has the valid-item and the duplicate rate of what was generated.
    users
        Most users to ask, drawn by `seed`; all by default.
    asking
        What each user asks; nothing by default.
    progress
        Called with the number of users done since the last call.

    Raises
    ------
    DataError
        The test is empty.
    NotFoundError
        The test has items that are not in the catalogue.
    SettingsError
        A cut-off is below 1.
    """
    if not ks or min(ks) < 1:
        raise SettingsError(f"the cut-offs are {list(ks)}; give whole numbers of at least 1")
    test = in_catalogue(recommender, test)
    ids = drawn_users(test, users, seed)
    persons = recommender.people(ids)
    n_items, width = len(recommender.parts.catalogue), max(ks)
    ranked = np.full((len(ids), width), -1, dtype=np.int64)
    spelled = reading == "generate"
    for first in range(0, len(ids), TOGETHER):
        part = persons[first : first + TOGETHER]
        found, _ = recommender.rank(part, width, asking, reading=reading, progress=progress if spelled else None)
        ranked[first : first + len(part), : found.shape[1]] = found
        if progress is not None and not spelled:
            progress(len(part))
    report = evaluate_ranking(
        ranked,
        test.sequences(ids),
        n_items=n_items,
        ks=ks,
        popularity=recommender.parts.catalogue.popularity,
        history=UserItems.from_lists([person.items.tolist() for person in persons]),
        name=name or reading,
        protocol=f"full ranking over the catalogue of {n_items} items, no sampled negatives, "
        "items of the user's history removed",
        seed=seed,
    )
    strangers = sum(not len(person.items) for person in persons)
    if strangers:
        report = replace(report, notes=(*report.notes, f"{strangers} users have no history and are asked as strangers"))
    if not spelled:
        return report
    open_items = n_items - np.array([len(np.unique(person.items)) for person in persons])
    generated = ranked[:, : max(1, min(width, int(open_items.min())))]
    formed = evaluate_generation(generated, n_items=n_items, seed=seed)
    return replace(
        report,
        metrics=(*report.metrics, *formed.metrics),
        per_user={**report.per_user, **formed.per_user},
        tie_rule="equal log-probabilities go by the order of the catalogue",
    )


def match_reports(
    recommender: Recommender,
    test: Dataset,
    users: int | None = None,
    seed: int = 42,
    *,
    progress: Progress | None = None,
) -> tuple[Report, Report]:
    """Evaluate the match probability on held-out ratings, and the like-rate rule on the same pairs.

    Parameters
    ----------
    test
        Held-out interactions with ratings; a rating of at least ``settings.liked_rating`` is a yes.
    users, seed, progress
        As in `evaluate_model`; the progress counts pairs.

    Returns
    -------
    match, rule
        The rule's probability is the sigmoid of `LikeRates.log_odds`, calibrated by nothing.

    Raises
    ------
    DataError
        The test has no ratings.
    NotFoundError
        The test has items that are not in the catalogue.
    """
    if not has_ratings(test):
        raise DataError(f"{test.name} has no ratings, so nothing tells which pairs are a yes; give a column rating")
    test = in_catalogue(recommender, test)
    ids = drawn_users(test, users, seed)
    events = test.sequences(ids)
    rated = ~np.isnan(events.ratings)
    owners = np.repeat(np.arange(len(ids)), np.diff(events.offsets))[rated]
    labels = (events.ratings[rated] >= recommender.settings.liked_rating).astype(np.int64)
    persons = recommender.people(ids)
    reading = recommender.match_reading
    rule, words = reading.odds([persons[owner] for owner in owners], events.items[rated].tolist(), progress)
    alone = Calibration(rule=1.0, words=0.0, intercept=0.0)
    return (
        evaluate_match(owners, labels, reading.calibration.probabilities(rule, words), name="match", seed=seed),
        evaluate_match(owners, labels, alone.probabilities(rule, words), name="like-rate rule", seed=seed),
    )


def has_ratings(test: Dataset) -> bool:
    """Whether any interaction has a rating."""
    return "rating" in test.interactions.columns and bool(test.interactions["rating"].is_not_null().any())


def in_catalogue(recommender: Recommender, test: Dataset) -> Dataset:
    """The test with the recommender's items table.

    Raises
    ------
    DataError
        The test is empty.
    NotFoundError
        The test has items that are not in the catalogue.
    """
    if test.interactions.height == 0:
        raise DataError(f"{test.name} has no interactions to test with")
    return with_items_of(test, recommender.parts.dataset.items)


def drawn_users(test: Dataset, users: int | None, seed: int) -> list[Any]:
    """Ids of so many users of a test, drawn by the seed and in their order; None for all."""
    ids = test.user_ids
    if users is None or users >= len(ids):
        return ids
    if users < 1:
        raise SettingsError(f"users is {users}; ask at least one")
    drawn = np.random.default_rng(seed).choice(len(ids), users, replace=False)
    return [ids[at] for at in np.sort(drawn)]
