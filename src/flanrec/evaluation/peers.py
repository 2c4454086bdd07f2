"""What else one could use: well-known methods, those of the package implicit as that package ships them.

Their settings are fixed, the same for every data set, and stand in the table beside the numbers.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

from flanrec.candidates import Ease, Popularity, Source
from flanrec.catalogue.people import Person
from flanrec.evaluation.methods import Floats, Method, Ranking, by_scores
from flanrec.evaluation.tasks import RankingTask
from flanrec.metrics import ItemLists, UserItems

ALS = {"factors": 32, "regularization": 0.01, "alpha": 1.0, "iterations": 15}
BPR = {"factors": 64, "learning_rate": 0.05, "regularization": 0.01, "iterations": 100}
COSINE = {"K": 50}
BM25 = {"K": 50, "K1": 1.2, "B": 0.75}


def peer_methods(task: RankingTask) -> tuple[list[Method], list[str]]:
    """The peers that can be fitted on a task, and notes on those that cannot; its seed starts ALS and BPR."""
    methods = [
        _closed_form("popularity", Popularity()),
        _closed_form("EASE as published", Ease(decay=1.0)),
    ]
    fits: dict[str, tuple[Callable[..., Ranking], Mapping[str, float]]] = {
        "item neighbours, cosine": (_neighbours, COSINE),
        "item neighbours, BM25": (_neighbours, BM25),
        "ALS": (_als, {**ALS, "random_state": task.seed}),
        "BPR": (_bpr, {**BPR, "random_state": task.seed}),
    }
    if importlib.util.find_spec("implicit") is None:
        note = (
            f"{', '.join(fits)} are left out: the package implicit is not installed "
            "(pip install 'flanrec[baselines]' adds it)"
        )
        return methods, [note]
    notes = []
    trained_on = set(task.known.user_ids)
    strangers = sum(user not in trained_on for user in task.user_ids)
    if strangers == len(task.user_ids):
        del fits["BPR"]
        notes.append("BPR is left out: it has nothing for users that it was not trained on, and here that is all")
    elif strangers:
        notes.append(f"BPR gives {strangers} users that it was not trained on what is popular")
    for name, (fit, settings) in fits.items():
        told = ", ".join(f"{key}={value:g}" for key, value in settings.items())
        methods.append(Method(name, "peer", f"implicit: {told}", partial(fit, settings=settings)))
    return methods, notes


def _closed_form(name: str, source: Source) -> Method:
    def fit(task: RankingTask) -> Ranking:
        fitted = source.fit(task.known.sequences())
        return by_scores(lambda asked: fitted.scores([person.items for person in asked]))

    return Method(name, "peer", repr(source), fit)


def _neighbours(task: RankingTask, *, settings: Mapping[str, Any]) -> Ranking:
    """Sum of the similarities to the items of a history."""
    from implicit.nearest_neighbours import BM25Recommender, CosineRecommender

    model = (BM25Recommender if "K1" in settings else CosineRecommender)(**settings, num_threads=1)
    with warnings.catch_warnings():
        # implicit transposes what it is given, and then warns of the form that this has.
        warnings.simplefilter("ignore")
        model.fit(_matrix(task.known.sequences(), task.n_items), show_progress=False)

    def scores(asked: Sequence[Person]) -> Floats:
        return np.asarray((_matrix(_histories(asked), task.n_items) @ model.similarity).toarray(), dtype=np.float32)

    return by_scores(scores)


def _als(task: RankingTask, *, settings: Mapping[str, Any]) -> Ranking:
    """Users are folded in from their histories, which need not have been trained on."""
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(**settings, num_threads=1)
    model.fit(_matrix(task.known.sequences(), task.n_items), show_progress=False)

    def scores(asked: Sequence[Person]) -> Floats:
        users = model.recalculate_user(np.arange(len(asked)), _matrix(_histories(asked), task.n_items))
        return np.asarray(users @ model.item_factors.T, dtype=np.float32)

    return by_scores(scores)


def _bpr(task: RankingTask, *, settings: Mapping[str, Any]) -> Ranking:
    """Users have factors of their own; one who was not trained on is given what is popular."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    log = task.known.sequences()
    model = BayesianPersonalizedRanking(**settings, num_threads=1)
    model.fit(_matrix(log, task.n_items), show_progress=False)
    places = {user: row for row, user in enumerate(log.user_ids)}
    row_of = {id(person): places.get(user, -1) for user, person in zip(task.user_ids, task.people, strict=True)}
    popular = Popularity().fit(log).scores([np.zeros(0, dtype=np.int64)])[0]

    def scores(asked: Sequence[Person]) -> Floats:
        rows = np.array([row_of[id(person)] for person in asked], dtype=np.int64)
        found = np.asarray(model.user_factors[rows] @ model.item_factors.T, dtype=np.float32)
        found[rows < 0] = popular
        return found

    return by_scores(scores)


def _histories(asked: Sequence[Person]) -> UserItems:
    return UserItems.from_lists([person.items.tolist() for person in asked])


def _matrix(lists: ItemLists, n_items: int) -> Any:
    """Compressed rows float32 [n_users, n_items], 1 where a user has met an item."""
    ones = np.ones(len(lists.items), dtype=np.float32)
    matrix = sparse.csr_matrix((ones, lists.items, lists.offsets), shape=(len(lists.offsets) - 1, n_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix
