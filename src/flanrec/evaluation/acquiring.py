"""Whether chosen questions teach more than random ones: the same number of answers, held-out events as judges."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from flanrec.candidates import Ease, Popularity
from flanrec.catalogue.like_rates import LikeRates
from flanrec.data import Dataset, new_users
from flanrec.data.splits import hold_out_last
from flanrec.errors import DataError, SettingsError
from flanrec.metrics import UserItems, ndcg, top_k
from flanrec.metrics.intervals import Interval, PairedDifference, bootstrap_interval, paired_bootstrap
from flanrec.ranking.diversity import unit_rows
from flanrec.recommender.acquisition import choose, entropy
from flanrec.recommender.tables import joined
from flanrec.recommender.telling import telling_items

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Against = Literal["answers", "questions", "popular"]
OTHERS: dict[Against, str] = {
    "answers": "as many random answers",
    "questions": "as many random items",
    "popular": "as many of the most popular items",
}
"""What chosen questions are held against, in words."""


@dataclass(frozen=True)
class Acquired:
    """What answers were worth, a mean over users with intervals.

    Attributes
    ----------
    metric
        What is measured, by the held-out events of the users.
    questions
        How many were asked, of all users together or of each, as the metric says.
    answered
        Mean number of questions that had an answer: chosen, random.
    before, chosen, random
        Without the answers, with those to chosen and with those to random (or popular) questions.
    difference
        Chosen minus random, paired by user.
    """

    metric: str
    questions: int
    answered: tuple[float, float]
    before: Interval
    chosen: Interval
    random: Interval
    difference: PairedDifference

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def measure_pairs(
    dataset: Dataset,
    questions: int,
    *,
    liked_rating: float = 4.0,
    start: int = 1000,
    rounds: int = 10,
    pool: int = 2000,
    balance: float = 0.3,
    draws: int = 10,
    held_out: int = 5,
    seed: int = 42,
) -> Acquired:
    """Log loss of held-out ratings when so many ratings are revealed: the least certain ones, or random ones.

    The last events of each user are held out. Of the others `start` random ratings are known; the rest is asked for in
    rounds, and after each round the like rates, which are the match probability of an untuned T5, are counted again.
    The chosen ones are those of highest entropy among `pool` random ones, made unlike by their users and categories.

    Parameters
    ----------
    questions
        Of all users together; each is answered.
    draws
        Times that all of it is done with other random numbers; losses are means over them.
    held_out
        Events of each user.

    Raises
    ------
    DataError
        There are fewer ratings than are asked for, or nothing to hold out.
    SettingsError
        A number is below 1.
    """
    if min(questions, rounds, draws, pool, held_out) < 1:
        raise SettingsError("questions, rounds, draws, pool and held_out must each be at least 1")
    train, test = hold_out_last(dataset, held_out)
    log = train.sequences()
    later = test.sequences(log.user_ids)
    rated, judged = np.flatnonzero(~np.isnan(log.ratings)), np.flatnonzero(~np.isnan(later.ratings))
    if len(rated) < start + questions or not len(judged):
        raise DataError(
            f"{dataset.name} has {len(rated)} ratings to ask for and {len(judged)} held out, but {start + questions} "
            "are to be known and asked for; ask for fewer, or give a longer log"
        )
    users = np.repeat(np.arange(len(log)), np.diff(log.offsets))
    judges = np.repeat(np.arange(len(later)), np.diff(later.offsets))[judged]
    answers = later.ratings[judged] >= liked_rating
    kinds = category_vectors(dataset)
    tastes = unit_rows(np.array([kinds[log.of(user)].mean(axis=0) for user in range(len(log))]))

    def chance(known: npt.NDArray[np.bool_], owners: Ints, items: Ints) -> Floats:
        """Probability of a like by the ratings that are known."""
        seen = np.where(known, log.ratings, np.nan).astype(np.float32)
        rates = LikeRates.of(replace(log, ratings=seen), liked_rating)
        counts = np.bincount(users[known], minlength=len(log)).astype(np.float64)
        liked = (log.ratings[known] >= liked_rating).astype(np.float64)
        likes = np.bincount(users[known], weights=liked, minlength=len(log)).astype(np.float64)
        return np.asarray(1 / (1 + np.exp(-rates.log_odds(items, likes[owners], counts[owners]))))

    def loss(known: npt.NDArray[np.bool_]) -> Floats:
        """Log loss of each user who judges."""
        given = chance(known, judges, later.items[judged])
        each = -np.log(np.where(answers, given, 1 - given))
        return np.asarray(np.bincount(judges, weights=each) / np.maximum(np.bincount(judges), 1))[np.unique(judges)]

    found: dict[str, list[Floats]] = {"before": [], "chosen": [], "random": []}
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        begun = np.zeros(len(log.items), dtype=bool)
        begun[rng.choice(rated, start, replace=False)] = True
        known = {"before": begun, "chosen": begun.copy(), "random": begun.copy()}
        for part in np.array_split(np.arange(questions), min(rounds, questions)):
            left = np.setdiff1d(rated, np.flatnonzero(known["chosen"]))
            some = rng.choice(left, min(max(pool, len(part)), len(left)), replace=False)
            unsure = entropy(chance(known["chosen"], users[some], log.items[some]))
            vectors = np.hstack([kinds[log.items[some]], tastes[users[some]]])
            known["chosen"][some[choose(unsure, vectors, len(part), balance)]] = True
            left = np.setdiff1d(rated, np.flatnonzero(known["random"]))
            known["random"][rng.choice(left, len(part), replace=False)] = True
        for name, which in known.items():
            found[name].append(loss(which))
    means = {name: np.mean(each, axis=0) for name, each in found.items()}
    words = f"log loss of held-out ratings, lower is better; {start} ratings known, {questions} more asked for"
    return _acquired(words, questions, (questions, questions), means, seed)


def measure_items(
    dataset: Dataset,
    questions: int = 10,
    *,
    against: Against = "answers",
    liked_rating: float = 4.0,
    share: float = 0.2,
    draws: int = 10,
    pool: int = 2000,
    seed: int = 42,
) -> Acquired:
    """NDCG@10 of what new users took, when they told which of some items they know.

    A share of the users is new, and of each a random half of the items judges. All are asked about the same items,
    those of `telling_items`; who has one in the other half knows it. EASE, fitted on the other users' events, ranks
    from what they know, and popularity where that is nothing. Items of the other half are not ranked, so that only the
    answers differ.

    Parameters
    ----------
    questions
        Of each new user; only what they know is an answer.
    against
        ``answers``: each tells as many random items of the other half as they knew of the chosen ones. ``questions``:
        all are asked about as many random items that have an event. ``popular``: about those with most events, which
        are no random ones, and are the rule to beat.
    draws
        Of random answers or questions; values are means over them.
    pool
        How many of the best known items are considered.

    Raises
    ------
    DataError
        No new user has two items.
    SettingsError
        A number is below 1.
    """
    if min(questions, draws, pool) < 1:
        raise SettingsError("questions, draws and pool must each be at least 1")
    split = new_users(dataset, share=share, seed=seed, validation=0.01)
    known, events = joined(split.train, split.validation).sequences(), split.test.sequences()
    rng = np.random.default_rng(seed)
    items = [rng.permutation(np.unique(events.of(user))) for user in range(len(events))]
    halves = [(own[: len(own) // 2], own[len(own) // 2 :]) for own in items if len(own) > 1]
    if not halves:
        raise DataError(f"{dataset.name} has no new user with two items; give a longer log or a larger share")
    told, judged = [half for half, _ in halves], [half for _, half in halves]
    relevant, closed = (UserItems.from_lists([half.tolist() for half in side]) for side in (judged, told))
    ease, popular = Ease(decay=1.0).fit(known), Popularity().fit(known)

    def worth(answers: list[Ints]) -> Floats:
        nothing = np.array([not len(one) for one in answers])
        scores = np.where(nothing[:, None], popular.scores(answers), ease.scores(answers))
        return ndcg(top_k(scores, 10, exclude=closed).items, relevant, 10)

    def known_of(asked: Ints) -> list[Ints]:
        return [half[np.isin(half, asked)] for half in told]

    counts = np.bincount(known.items, minlength=len(known.item_ids))
    some = np.flatnonzero(counts > 0)
    among = np.sort(some[np.argsort(-counts[some], kind="stable")[:pool]])
    chosen = known_of(telling_items(known, questions, liked_rating, among)[0])

    def others() -> list[Ints]:
        if against == "answers":
            return [rng.permutation(half)[: len(one)] for half, one in zip(told, chosen, strict=True)]
        if against == "popular":
            return known_of(np.argsort(-counts, kind="stable")[:questions])
        return known_of(rng.choice(some, min(questions, len(some)), replace=False))

    drawn = [others() for _ in range(1 if against == "popular" else draws)]
    means = {
        "before": worth([half[:0] for half in told]),
        "chosen": worth(chosen),
        "random": np.mean([worth(one) for one in drawn], axis=0),
    }
    words = f"NDCG@10 of new users; each is asked whether they know {questions} items, against {OTHERS[against]}"
    lengths = (np.mean([len(one) for one in chosen]), np.mean([len(half) for one in drawn for half in one]))
    return _acquired(words, questions, (float(lengths[0]), float(lengths[1])), means, seed)


def category_vectors(dataset: Dataset) -> Floats:
    """Categories of each item at length one, zeros for none: float64 [n_items, n_categories]."""
    lists = dataset.items["category"].to_list()
    names = {name: at for at, name in enumerate(sorted({name for names in lists for name in names}))}
    found = np.zeros((len(lists), max(len(names), 1)))
    for item, own in enumerate(lists):
        found[item, [names[name] for name in own]] = 1.0
    return np.asarray(unit_rows(found), dtype=np.float64)


def _acquired(
    metric: str, questions: int, answered: tuple[float, float], means: dict[str, Floats], seed: int
) -> Acquired:
    before, chosen, random = (bootstrap_interval(means[name], seed) for name in ("before", "chosen", "random"))
    difference = paired_bootstrap(means["chosen"], means["random"], seed)
    return Acquired(metric, questions, answered, before, chosen, random, difference)
