"""Whether chosen questions teach more than random ones: the same number of answers, held-out events as judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from flanrec.candidates.blend import Blend
from flanrec.catalogue.like_rates import LikeRates
from flanrec.data import Dataset, new_users
from flanrec.data.sequences import Sequences
from flanrec.data.splits import hold_out_last
from flanrec.errors import DataError, SettingsError
from flanrec.metrics import UserItems, ndcg, top_k
from flanrec.metrics.intervals import Interval, PairedDifference, bootstrap_interval, paired_bootstrap
from flanrec.ranking.diversity import unit_rows
from flanrec.recommender.acquisition import choose, entropy, item_information
from flanrec.recommender.tables import joined

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


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
        Without the answers, with those to chosen and with those to random questions.
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
    liked_rating: float = 4.0,
    balance: float = 0.3,
    share: float = 0.2,
    draws: int = 10,
    among: Callable[[Sequences], npt.NDArray[np.bool_]] | None = None,
    seed: int = 42,
) -> Acquired:
    """NDCG@10 of new users' last event when they answered which of some items they know.

    A share of the users is new. Each is asked about the same items: those that tell most (`item_information`, made
    unlike by their categories), or random ones with an event. Who has the item in the history says so, and what they
    know in the order they met it is the history that the closed-form blend of the other users ranks from. Items of the
    whole history are not ranked, so that only the answers differ.

    Parameters
    ----------
    questions
        Of each new user; only what they know is an answer.
    draws
        Draws of random items; values are means over them.
    among
        Which items random questions may be about, from the log of the other users: bool [n_items]; by default those
        with an event.

    Raises
    ------
    DataError
        No new user has two events.
    SettingsError
        A number is below 1.
    """
    if min(questions, draws) < 1:
        raise SettingsError("questions and draws must each be at least 1")
    split = new_users(dataset, share=share, seed=seed, validation=0.01)
    known = joined(split.train, split.validation).sequences()
    events = split.test.sequences()
    histories = [events.of(user) for user in range(len(events)) if len(events.of(user)) > 1]
    if not histories:
        raise DataError(f"{dataset.name} has no new user with two events; give a longer log or a larger share")
    relevant = UserItems.from_lists([[int(items[-1])] for items in histories])
    closed = UserItems.from_lists([items[:-1].tolist() for items in histories])
    blend = Blend().fit(known)
    kinds = category_vectors(dataset)

    def asked(items: Ints) -> tuple[Floats, float]:
        told = [history[:-1][np.isin(history[:-1], items)] for history in histories]
        ranked = top_k(blend.scores(told), 10, exclude=closed).items
        return ndcg(ranked, relevant, 10), float(np.mean([len(one) for one in told]))

    best = choose(item_information(known, liked_rating), kinds, questions, balance)
    counts = np.bincount(known.items, minlength=len(known.item_ids))
    some = np.flatnonzero(counts > 0 if among is None else among(known))
    rng = np.random.default_rng(seed)
    drawn = [asked(rng.choice(some, min(questions, len(some)), replace=False)) for _ in range(draws)]
    chosen, answered = asked(best)
    means = {
        "before": asked(np.zeros(0, dtype=np.int64))[0],
        "chosen": chosen,
        "random": np.mean([each for each, _ in drawn], axis=0),
    }
    words = f"NDCG@10 of new users' last event; each is asked whether they know {questions} items"
    return _acquired(words, questions, (answered, float(np.mean([count for _, count in drawn]))), means, seed)


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
