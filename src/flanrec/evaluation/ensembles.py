"""Several recommenders of one catalogue that rank together, by the average of what each says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from flanrec.data import Dataset
from flanrec.errors import DataError, SettingsError
from flanrec.evaluation.models import Progress, drawn_users, in_catalogue
from flanrec.evaluation.protocol import evaluate_scores
from flanrec.evaluation.report import Report
from flanrec.metrics import PairedDifference, UserItems, paired_bootstrap
from flanrec.metrics.lists import FloatArray
from flanrec.recommender import READINGS, Reading, Recommender

_TOGETHER = 64
"""Users asked at once."""


def mean_scores(scores: Sequence[npt.ArrayLike], weights: Sequence[float] | None = None) -> FloatArray:
    """The weighted mean of several models' scores.

    Of log-probabilities it is the geometric mean of the probabilities, up to a constant of each row: what one model
    holds impossible, all do (a product of experts). Of scores on different scales make log-probabilities first.

    Parameters
    ----------
    scores
        Arrays of one shape.
    weights
        One a model, not negative; equal by default.

    Raises
    ------
    DataError
        The shapes differ, there are no scores, or the weights do not fit them.

    References
    ----------
    Hinton, "Training products of experts by minimizing contrastive divergence", 2002.
    """
    arrays, shares = _checked(scores, weights)
    # A weight of zero times -inf would be nan.
    return np.asarray(sum(share * array for array, share in zip(arrays, shares, strict=True) if share > 0))


def mixed_log_probabilities(scores: Sequence[npt.ArrayLike], weights: Sequence[float] | None = None) -> FloatArray:
    """The log of the weighted mean of several models' probabilities, which are given as logs.

    Parameters, errors
        As `mean_scores`.

    References
    ----------
    Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive uncertainty estimation using deep
    ensembles", 2017.
    """
    arrays, shares = _checked(scores, weights)
    column = shares.reshape(-1, *[1] * arrays[0].ndim)
    with np.errstate(divide="ignore"):
        return np.asarray(logsumexp(np.stack(arrays), axis=0, b=column))


@dataclass(frozen=True)
class EnsembleReport:
    """Single recommenders, and all of them together, on the same users.

    Attributes
    ----------
    singles, together
        Reports of full rankings by one reading.
    difference
        NDCG@10 of all together less that of the best single one, user by user.
    """

    singles: tuple[Report, ...]
    together: Report
    difference: PairedDifference

    @property
    def best(self) -> Report:
        """The best single one by NDCG@10."""
        return max(self.singles, key=lambda report: report["ndcg@10"])

    @property
    def pays(self) -> bool:
        """Whether all together are better than the best single one."""
        return self.difference.value > 0


def evaluate_ensemble(
    recommenders: Sequence[Recommender],
    test: Dataset,
    *,
    reading: Reading = "item_tokens",
    ks: Sequence[int] = (5, 10),
    users: int | None = None,
    seed: int = 42,
    progress: Progress | None = None,
) -> EnsembleReport:
    """Rank the whole catalogue by averaged log-probabilities of several recommenders, and by each alone.

    Choose by validation events: those of a test tell only what came of the choice. The recommenders are not made one;
    all of them are asked.

    Parameters
    ----------
    recommenders
        Such as `Recommender.load` gives them, two or more of one catalogue.
    test
        Held-out interactions of its items. Each user's history is what the first recommender knows.
    reading
        ``generate`` scores every title of the catalogue exactly, which takes long where there are many.
    ks
        Cut-offs; 10 is always among them.
    users
        Most users to ask, drawn by `seed`; all by default.
    progress
        Called with the number of users done since the last call.

    Raises
    ------
    SettingsError
        There are fewer than two recommenders.
    DataError
        Their catalogues differ, or the test is empty.
    NotFoundError
        The test has items that are not in the catalogue.
    """
    if len(recommenders) < 2:
        raise SettingsError(f"an ensemble needs two recommenders at least, got {len(recommenders)}")
    first = recommenders[0]
    for number, other in enumerate(recommenders[1:], start=2):
        if list(other.parts.catalogue.item_ids) != list(first.parts.catalogue.item_ids):
            raise DataError(
                f"recommender {number} has another catalogue than the first, or another order of it; fit all on one "
                "table of items"
            )
    test = in_catalogue(first, test)
    ids = drawn_users(test, users, seed)
    people = first.people(ids)
    shape = (len(ids), len(first.parts.catalogue))
    each = np.empty((len(recommenders), *shape), dtype=np.float32)
    for begin in range(0, len(ids), _TOGETHER):
        part = slice(begin, begin + _TOGETHER)
        for scores, recommender in zip(each, recommenders, strict=True):
            scores[part] = _log_probabilities(recommender, people[part], reading)
        if progress is not None:
            progress(len(people[part]))
    history = UserItems.from_lists([person.items.tolist() for person in people])
    common: dict[str, Any] = {
        "history": history, "ks": sorted({*ks, 10}), "popularity": first.parts.catalogue.popularity, "seed": seed,
    }  # fmt: skip
    relevant = test.sequences(ids)
    singles = tuple(
        evaluate_scores(scores, relevant, name=f"{reading} {number}", **common)
        for number, scores in enumerate(each, start=1)
    )
    together = evaluate_scores(mean_scores(list(each)), relevant, name=f"{reading}, {len(each)} together", **common)
    best = max(singles, key=lambda report: report["ndcg@10"])
    paired = paired_bootstrap(together.per_user["ndcg@10"], best.per_user["ndcg@10"], seed=seed)
    return EnsembleReport(singles, together, paired)


def _log_probabilities(recommender: Recommender, people: Sequence[Any], reading: Reading) -> FloatArray:
    """Of every item coming next: float64 [n_users, n_items]."""
    if reading == "item_tokens":
        found = recommender.token_reading.scores(people)
    elif reading == "generate":
        found = recommender.word_reading.scores(people, excluded=[np.unique(person.items) for person in people])
    elif reading == "fused":
        found = recommender.fused_reading.scores(people)
    else:
        raise SettingsError(f"reading {reading!r} is not known; use one of {', '.join(READINGS)}")
    # Scores of the fused reading are log-probabilities only up to a constant of each user.
    return np.asarray(found - logsumexp(found, axis=1, keepdims=True))


def _checked(scores: Sequence[npt.ArrayLike], weights: Sequence[float] | None) -> tuple[list[FloatArray], FloatArray]:
    arrays = [np.asarray(array, dtype=np.float64) for array in scores]
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1:
        raise DataError(f"scores of several models must have one shape, got {sorted(shapes) or 'none'}")
    shares = np.ones(len(arrays)) if weights is None else np.asarray(weights, dtype=np.float64)
    if shares.shape != (len(arrays),) or (shares < 0).any() or not shares.sum() > 0:
        raise DataError(f"{len(arrays)} models need as many weights, none below 0 and one above it; got {weights}")
    return arrays, shares / shares.sum()
