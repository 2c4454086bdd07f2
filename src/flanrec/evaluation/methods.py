"""Methods under comparison: how each is fitted, how it ranks, and what that takes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.people import Person
from flanrec.evaluation.tasks import RankingTask
from flanrec.metrics import top_k
from flanrec.recommender.lists import closed_items

K = 10
"""Length of the lists that are compared."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Kind = Literal["source", "reading", "untuned", "ablation", "peer"]
Ranking = Callable[[Sequence[Person], NDArray[np.bool_] | None], Ints]
"""From people and the items that may come (bool [n_items], None for all) to lists int64 [n_people, at most K], best
first, without items of the people's histories, -1 for an empty slot."""

KINDS: Mapping[str, str] = {
    "reading": "a way to read the fitted recommender",
    "untuned": "the T5 before any tuning, which spells titles; after so many solved examples of other users",
    "ablation": "the fused ranking with other sources, its weights learned again on the same validation events",
    "source": "one source of the fused ranking, alone",
    "peer": "another method, fitted on the same training events",
}
"""Each kind in words."""

TIE_SEED = 0
TIE_RULE = "equal scores go by an order of the catalogue that is drawn once; readings by rising catalogue index"
_TOGETHER = 256


@dataclass(frozen=True)
class Method:
    """One way to rank.

    Attributes
    ----------
    settings
        All that decides its lists beside the task.
    fit
        Learns from the task's known events.
    fit_seconds, user_seconds
        Where they are not measured here: how long it took elsewhere, nan for unknown.
    """

    name: str
    kind: Kind
    settings: str
    fit: Callable[[RankingTask], Ranking]
    fit_seconds: float | None = None
    user_seconds: float | None = None


@dataclass(frozen=True, eq=False)
class Row:
    """What a method did.

    Attributes
    ----------
    items
        int64 [n_users, K], best first, -1 for an empty slot.
    fit_seconds
        Wall time to fit, nan where it is not known.
    user_seconds
        Wall time to rank for one user, the mean, nan where it is not known.
    """

    name: str
    kind: Kind
    settings: str
    items: Ints
    fit_seconds: float
    user_seconds: float


def measure(method: Method, task: RankingTask, progress: Callable[[int], None] | None = None) -> Row:
    """Fit a method and let it rank for all users of a task.

    Parameters
    ----------
    progress
        Called with the number of users done since the last call.
    """
    began = time.perf_counter()
    rank = method.fit(task)
    fitted = time.perf_counter()
    items = np.full((len(task.people), K), -1, dtype=np.int64)
    for first in range(0, len(task.people), _TOGETHER):
        part = task.people[first : first + _TOGETHER]
        found = rank(part, task.allowed)
        items[first : first + len(part), : found.shape[1]] = found
        if progress is not None:
            progress(len(part))
    spent = (time.perf_counter() - fitted) / max(len(task.people), 1)
    return Row(
        method.name,
        method.kind,
        method.settings,
        items,
        fitted - began if method.fit_seconds is None else method.fit_seconds,
        spent if method.user_seconds is None else method.user_seconds,
    )


def by_scores(scores: Callable[[Sequence[Person]], Floats]) -> Ranking:
    """Rank by scores of the whole catalogue, float32 [n_people, n_items].

    Equal scores go by an order of the catalogue that is drawn once: a catalogue that happens to be sorted by popularity
    would else make a method that knows nothing look good.
    """

    def rank(asked: Sequence[Person], allowed: NDArray[np.bool_] | None) -> Ints:
        found = scores(asked)
        closed = closed_items((len(asked), found.shape[1]), [person.items for person in asked], allowed)
        order = np.random.default_rng(TIE_SEED).permutation(found.shape[1])
        best = top_k(found[:, order], K, exclude=closed[:, order]).items
        return np.where(best >= 0, order[best], -1)

    return rank


def known_or_none(seconds: float) -> float | None:
    """Seconds for JSON and tables: None where they are not known."""
    return None if math.isnan(seconds) else seconds
