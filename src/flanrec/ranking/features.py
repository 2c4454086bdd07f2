"""Features of pairs: what each source says of a user and an item, and plain facts about both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flanrec.candidates import Ease, ItemNeighbours, Popularity, Scorer, Source, Transitions
from flanrec.candidates.scales import log_smoothed, standardised
from flanrec.data.sequences import Sequences
from flanrec.ranking.moments import Moments
from flanrec.ranking.pool import Floats, Ints, Pool, best_of_each

_DAYS = (7.0, 30.0)
_NEWEST = 3
_FADING = 0.9
_SMOOTHING = 0.1
_LEAST_LIKENESS = 1e-3


@dataclass(frozen=True)
class Voice:
    """A closed-form source in a fusion.

    Attributes
    ----------
    source
        Its settings.
    scale
        ``standardised`` over a user's items; ``log`` of a similarity; ``log_smoothed``, the log of a rate beside the
        items' shares; ``plain`` where scores are logs of shares already.
    newest
        How many of the newest events it is asked about; None for all.
    """

    source: Source
    scale: Literal["standardised", "log", "log_smoothed", "plain"] = "standardised"
    newest: int | None = None

    def scaled(self, scores: Floats, log_shares: Floats) -> Floats:
        """Scores float32 [n_users, n_items] on the common scale, given the items' log shares."""
        if self.scale == "standardised":
            return standardised(scores)
        if self.scale == "log":
            return np.asarray(np.log(scores + _LEAST_LIKENESS))
        return log_smoothed(scores, log_shares, _SMOOTHING) if self.scale == "log_smoothed" else scores


VOICES: Mapping[str, Voice] = MappingProxyType(
    {
        "ease": Voice(Ease()),
        "plain_ease": Voice(Ease(decay=1.0)),
        "transitions": Voice(Transitions(window=10), "log_smoothed"),
        "next": Voice(Transitions(window=1, damping=5.0), "log_smoothed"),
        "near": Voice(Transitions(), "log_smoothed"),
        "neighbours": Voice(ItemNeighbours(), "log", newest=10),
        "popularity": Voice(Popularity(), "plain"),
    }
)
"""The closed-form sources of a fusion, by the name under which their features stand."""


@dataclass(frozen=True, eq=False)
class Behaviour:
    """The closed-form half of a fusion, fitted on one log.

    Attributes
    ----------
    scorers
        Of `VOICES`, by name.
    moments
        The log by time.
    groups
        float32 [n_items, n_groups], which categories and decades an item is in, rows of length one or zero.
    years
        float32 [n_items], nan where unknown.
    """

    scorers: Mapping[str, Scorer]
    moments: Moments
    groups: Floats
    years: Floats

    @classmethod
    def fit(cls, log: Sequences, members: NDArray[np.bool_], years: Sequence[int | None]) -> Behaviour:
        """Fit every source on a log.

        Parameters
        ----------
        members
            bool [n_items, n_groups], which categories and decades an item is in.
        years
            Of each item, None where unknown.
        """
        counts = np.sqrt(np.maximum(members.sum(axis=1, keepdims=True), 1)).astype(np.float32)
        known = np.array([np.nan if year is None else year for year in years], dtype=np.float32)
        return cls(
            {name: voice.source.fit(log) for name, voice in VOICES.items()}, Moments.of(log), members / counts, known
        )

    @cached_property
    def log_shares(self) -> Floats:
        """Log of each item's share of all events: float32 [n_items]."""
        shares: Floats = self.scorers["popularity"].scores([np.zeros(0, dtype=np.int64)])[0]
        return shares

    def scores(self, histories: Sequence[Ints], moments: Sequence[float]) -> dict[str, Floats]:
        """Every source's scores on one scale: log-probabilities, or standardised over the items of each user.

        Parameters
        ----------
        histories
            Of each user: int64, catalogue indices, oldest first.
        moments
            Time of each user's newest event in seconds, nan for the newest of the log.

        Returns
        -------
        dict
            By source: float32 [n_users, n_items].
        """
        found: dict[str, Floats] = {}
        for name, voice in VOICES.items():
            asked = histories if voice.newest is None else [history[-voice.newest :] for history in histories]
            found[name] = voice.scaled(self.scorers[name].scores(asked), self.log_shares)
        for days in _DAYS:
            found[f"recent{days:g}"] = self.moments.log_shares(moments, days)
        found["likeness"] = likeness(self.groups, histories)
        found["years"] = np.stack([self._near_in_time(history) for history in histories])
        return found

    def _near_in_time(self, history: Ints) -> Floats:
        """How near the items' years are to the mean of the newest: decades, at most three, below zero."""
        away = np.abs(self.years - _mean(self.years[history[-5:]])) / 10
        return np.asarray(-np.minimum(np.nan_to_num(away, nan=1.0), 3.0), dtype=np.float32)


def likeness(vectors: Floats, histories: Sequence[Ints]) -> Floats:
    """How like every item is to the mean of each history, newer events weighing more.

    Parameters
    ----------
    vectors
        float32 [n_items, d], of length one or zero.

    Returns
    -------
    float32 [n_users, n_items]
        Zeros for an empty history.
    """
    found = np.zeros((len(histories), len(vectors)), dtype=np.float32)
    for row, history in enumerate(histories):
        if len(history):
            weights = _FADING ** np.arange(len(history) - 1, -1, -1)
            found[row] = vectors @ np.asarray(weights @ vectors[history] / weights.sum(), dtype=np.float32)
    return found


@dataclass(frozen=True)
class Features:
    """How pools are made.

    Attributes
    ----------
    depth
        Candidates that each source names.
    naming
        Sources that name candidates; the others only score them.
    """

    depth: int = 100
    naming: tuple[str, ...] = ("ease", "transitions", "next", "neighbours", "recent7", "tokens")

    def pool(
        self,
        behaviour: Behaviour,
        histories: Sequence[Ints],
        moments: Sequence[float],
        closed: NDArray[np.bool_],
        *,
        given: Mapping[str, Floats] = MappingProxyType({}),
        also: Sequence[Floats] = (),
        everything: bool = False,
    ) -> Pool:
        """The candidates of several users with all features.

        Parameters
        ----------
        histories, moments
            As `Behaviour.scores` takes them.
        closed
            bool [n_users, n_items], items that may not come.
        given
            Scores of further sources, such as the language model's: float32 [n_users, n_items] by name.
        also
            Scores whose best open items are candidates too, and that are no feature.
        everything
            Take all items as candidates, closed ones with the last rank.
        """
        scores = behaviour.scores(histories, moments) | dict(given)
        users, items, ranks = best_of_each(
            {name: scores[name] for name in self.naming if name in scores}, closed, self.depth, also, everything
        )
        columns: dict[str, Floats] = {f"{name}.score": found[users, items] for name, found in scores.items()}
        columns |= {f"{name}.rank": found for name, found in ranks.items()}
        columns |= _facts(behaviour, histories, users, items)
        table = np.stack(list(columns.values()), axis=1).astype(np.float32)
        return Pool(users, items, np.nan_to_num(table), tuple(columns), len(histories))


def _facts(behaviour: Behaviour, histories: Sequence[Ints], users: Ints, items: Ints) -> dict[str, Floats]:
    """What tells users and items apart, and how near they are in kind and time."""
    groups, shares = behaviour.groups, behaviour.log_shares
    newest = [history[-_NEWEST:] for history in histories]
    liking = np.array([_mean(shares[history[-10:]]) for history in histories], dtype=np.float32)
    near = np.stack([groups[part].mean(axis=0) if len(part) else np.zeros(groups.shape[1]) for part in newest])
    return {
        "user.events": np.log1p([len(history) for history in histories]).astype(np.float32)[users],
        "user.popularity": liking[users],
        "item.year": behaviour.years[items],
        "pair.popularity": shares[items] - liking[users],
        "pair.newest": np.einsum("pg,pg->p", groups[items], near[users]).astype(np.float32),
    }


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
