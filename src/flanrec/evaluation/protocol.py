"""From ranked lists or scores to a report, by one protocol for every method.

Full ranking: a method orders the whole catalogue for every user, never a sample of it. Rows of all arguments are the
same users in the same order; items are catalogue indices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flanrec.errors import DataError
from flanrec.evaluation.report import Metric, Report
from flanrec.metrics import accuracy, beyond, probability
from flanrec.metrics.intervals import bootstrap_interval
from flanrec.metrics.lists import (
    FloatArray,
    IntegerArray,
    ItemLists,
    check_lists,
    check_ranked,
    distinct_counts,
    pair_keys,
)
from flanrec.metrics.ranking import TIE_RULE, top_k

DEFINITIONS: Mapping[str, str] = {**accuracy.DEFINITIONS, **beyond.DEFINITIONS, **probability.DEFINITIONS}
"""What each metric of a report means, by name without cut-off."""


def evaluate_ranking(
    ranked: IntegerArray,
    relevant: ItemLists,
    *,
    n_items: int,
    ks: Sequence[int] = (5, 10),
    popularity: npt.NDArray[np.number[Any]] | None = None,
    history: ItemLists | None = None,
    name: str = "model",
    protocol: str | None = None,
    seed: int = 42,
    resamples: int = 2000,
    level: float = 0.95,
) -> Report:
    """Evaluate ranked lists against held-out items.

    Parameters
    ----------
    ranked
        ``int[n_users, >= max(ks)]`` catalogue indices, best first, -1 for an empty slot.
    relevant
        Held-out items of each user. Users without any are left out of the accuracy metrics, and counted.
    n_items
        Size of the catalogue that was ranked.
    ks
        Cut-offs.
    popularity
        ``[n_items]`` interactions of each item in the training data; adds novelty, and with `history` popularity bias.
    history
        What each user did before; adds popularity bias, and a note when held-out items stand in it.
    name, protocol
        Words for the report.
    seed, resamples, level
        Of the bootstrap intervals.

    Raises
    ------
    DataError
        When shapes, users or indices do not fit together.
    SettingsError
        When a cut-off is below 1 or beyond the lists.

    Examples
    --------
    >>> from flanrec.metrics.lists import UserItems
    >>> report = evaluate_ranking(np.array([[2, 0], [1, 2]]), UserItems.from_lists([[0], [1]]), n_items=4, ks=[2])
    >>> report["hit_rate@2"], report["mrr@2"], report["coverage@2"]
    (1.0, 0.75, 0.75)
    """
    ranked = check_ranked(ranked, n_items)
    for lists, what in ((relevant, "relevant items"), (history, "histories")):
        if lists is not None:
            check_lists(lists, len(ranked), what)
            if len(lists.items) and int(np.max(lists.items)) >= n_items:
                raise DataError(f"{what} name item {int(np.max(lists.items))}, but the catalogue has {n_items} items")
    if popularity is not None and len(popularity) != n_items:
        raise DataError(f"popularity covers {len(popularity)} items, but the catalogue has {n_items}")

    def interval_of(values: FloatArray, metric: str) -> Metric:
        interval = bootstrap_interval(values, seed, resamples, level)
        return Metric(metric, interval.value, interval.low, interval.high, interval.count, definition(metric))

    def whole(value: float, metric: str) -> Metric:
        return Metric(metric, value, None, None, len(ranked), definition(metric))

    per_user = accuracy.accuracy_at(ranked, relevant, ks)
    collective: list[Metric] = []
    for k in sorted(set(ks)):
        top = ranked[:, :k]
        collective.append(whole(beyond.coverage(top, n_items), f"coverage@{k}"))
        collective.append(whole(beyond.gini(top, n_items), f"gini@{k}"))
        if popularity is not None and history is not None:
            collective.append(whole(beyond.popularity_bias(top, history, popularity), f"popularity_bias@{k}"))
        if popularity is not None:
            per_user[f"novelty@{k}"] = beyond.novelty(top, popularity)
    with_relevant = int(np.count_nonzero(distinct_counts(relevant)))
    return Report(
        name=name,
        protocol=protocol or f"full ranking over the catalogue of {n_items} items, no sampled negatives",
        metrics=tuple(interval_of(values, metric) for metric, values in per_user.items()) + tuple(collective),
        users=with_relevant,
        users_left_out=len(ranked) - with_relevant,
        tie_rule=TIE_RULE,
        level=level,
        resamples=resamples,
        seed=seed,
        notes=repeat_notes(relevant, history),
        per_user=per_user,
    )


def evaluate_scores(
    scores: npt.ArrayLike,
    relevant: ItemLists,
    *,
    history: ItemLists | None = None,
    ks: Sequence[int] = (5, 10),
    **settings: Any,
) -> Report:
    """Rank a whole catalogue by its scores, items in `history` removed, and evaluate the lists.

    Parameters
    ----------
    scores
        ``float[n_users, n_items]``; items whose score is not finite are never recommended.
    settings
        Further arguments of `evaluate_ranking`: popularity, name, protocol, seed, resamples, level.
    """
    matrix = np.asarray(scores)
    ranked = top_k(matrix, max(ks, default=1), exclude=history).items
    n_items = matrix.shape[1]
    words = f"full ranking over the catalogue of {n_items} items, no sampled negatives"
    settings.setdefault("protocol", words if history is None else f"{words}, items of the user's history removed")
    return evaluate_ranking(ranked, relevant, n_items=n_items, ks=ks, history=history, **settings)


def evaluate_generation(
    generated: IntegerArray,
    *,
    n_items: int,
    name: str = "raw generation",
    seed: int = 42,
    resamples: int = 2000,
    level: float = 0.95,
) -> Report:
    """Report how well-formed raw generated lists are, before anything is mended.

    Parameters
    ----------
    generated
        ``int[n_users, k]`` catalogue indices, -1 where the generated text was no title of the catalogue.
    """
    generated = check_ranked(generated, n_items)
    per_user = {
        "valid_rate": beyond.valid_rate(generated, n_items),
        "duplicate_rate": beyond.duplicate_rate(generated),
    }
    metrics = []
    for metric, values in per_user.items():
        interval = bootstrap_interval(values, seed, resamples, level)
        metrics.append(Metric(metric, interval.value, interval.low, interval.high, interval.count, definition(metric)))
    return Report(
        name=name,
        protocol=f"{generated.shape[1]} generated outputs a user, as they came, mean over users",
        metrics=tuple(metrics),
        users=len(generated),
        level=level,
        resamples=resamples,
        seed=seed,
        per_user=per_user,
    )


def definition(metric: str) -> str:
    """Return the one-line definition of a metric by its name, with or without a cut-off."""
    return DEFINITIONS[metric.partition("@")[0]]


def repeat_notes(relevant: ItemLists, history: ItemLists | None) -> tuple[str, ...]:
    """Say how many held-out items stand in the same users' histories, if any do."""
    if history is None or not len(relevant.items) or not len(history.items):
        return ()
    width = int(max(np.max(relevant.items), np.max(history.items))) + 1
    again = np.intersect1d(pair_keys(relevant, width), pair_keys(history, width), assume_unique=True)
    if not len(again):
        return ()
    return (
        f"{len(again)} held-out items of {len(np.unique(again // width))} users are in their histories too; "
        "where seen items are removed these count as misses",
    )
