"""Features of pairs: what each source says of a user and an item, and plain facts about both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flanrec.candidates import Ease, ItemNeighbours, Popularity, Scorer, Source, Transitions
from flanrec.data.sequences import Sequences
from flanrec.ranking.moments import Moments
from flanrec.ranking.pool import Floats, Ints, Pool, best_of_each

_DAYS = (7.0, 30.0)
_NEWEST = 3
_FADING = 0.9


def default_sources() -> dict[str, Source]:
    """The closed-form sources of a fusion, by the name under which their features stand."""
    return {
        "ease": Ease(),
        "plain_ease": Ease(decay=1.0),
        "transitions": Transitions(window=10),
        "next": Transitions(window=1, damping=5.0),
        "near": Transitions(),
        "neighbours": ItemNeighbours(),
        "popularity": Popularity(),
    }


@dataclass(frozen=True, eq=False)
class Behaviour:
    """The closed-form half of a fusion, fitted on one log.

    Attributes
    ----------
    scorers
        By name; `default_sources` names them.
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
    def fit(
        cls, log: Sequences, members: NDArray[np.bool_], years: Sequence[int | None],
        sources: Mapping[str, Source] | None = None,
    ) -> Behaviour:  # fmt: skip
        """Fit every source on a log.

        Parameters
        ----------
        members
            bool [n_items, n_groups]
        """
        chosen = default_sources() if sources is None else sources
        counts = np.sqrt(np.maximum(members.sum(axis=1, keepdims=True), 1)).astype(np.float32)
        known = np.array([np.nan if year is None else year for year in years], dtype=np.float32)
        return cls({name: source.fit(log) for name, source in chosen.items()}, Moments.of(log), members / counts, known)

    @cached_property
    def log_shares(self) -> Floats:
        shares: Floats = self.scorers["popularity"].scores([np.zeros(0, dtype=np.int64)])[0]
        return shares

    def scores(self, histories: Sequence[Ints], moments: Sequence[float]) -> dict[str, Floats]:
        """Every source's scores on one scale: log-probabilities, or standardised over the items of each user.

        Parameters
        ----------
        histories
            Catalogue indices, oldest first.
        moments
            Time of each user's newest event in seconds, nan for the newest of the log.

        Returns
        -------
        dict
            By source: float32 [n_users, n_items].
        """
        found: dict[str, Floats] = {}
        smoothing = 0.1 * np.exp(self.log_shares)
        for name, scorer in self.scorers.items():
            asked = [history[-10:] for history in histories] if name == "neighbours" else histories
            scores = scorer.scores(asked)
            if name in ("transitions", "next", "near"):
                scores = np.log(scores + smoothing)
            elif name == "neighbours":
                scores = np.log(scores + 1e-3)
            elif name != "popularity":
                scores = _standardised(scores)
            found[name] = scores
        for days in _DAYS:
            found[f"recent{days:g}"] = self.moments.log_shares(moments, days)
        found["likeness"] = np.stack([self._likeness(history) for history in histories])
        found["years"] = np.stack([self._near_in_time(history) for history in histories])
        return found

    def _near_in_time(self, history: Ints) -> Floats:
        """How near the items' years are to the mean of the newest: decades, at most three, below zero."""
        away = np.abs(self.years - _mean(self.years[history[-5:]])) / 10
        return np.asarray(-np.minimum(np.nan_to_num(away, nan=1.0), 3.0), dtype=np.float32)

    def _likeness(self, history: Ints) -> Floats:
        if not len(history):
            return np.zeros(len(self.groups), dtype=np.float32)
        weights = _FADING ** np.arange(len(history) - 1, -1, -1)
        taste = (weights @ self.groups[history]) / weights.sum()
        return np.asarray(self.groups @ taste, dtype=np.float32)


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
    naming: tuple[str, ...] = field(default=("ease", "transitions", "next", "neighbours", "recent7", "tokens"))

    def pool(
        self,
        behaviour: Behaviour,
        histories: Sequence[Ints],
        moments: Sequence[float],
        closed: NDArray[np.bool_],
        given: Mapping[str, Floats] | None = None,
        also: Sequence[Floats] = (),
        everything: bool = False,
    ) -> Pool:
        """The candidates of several users with all features.

        Parameters
        ----------
        closed
            bool [n_users, n_items], items that may not come.
        given
            Scores of further sources, such as the language model's: float32 [n_users, n_items] by name.
        also
            Scores whose best open items are candidates too, and that are no feature.
        everything
            Take all items as candidates, closed ones with the last rank.
        """
        scores = behaviour.scores(histories, moments) | dict(given or {})
        users, items, ranks = best_of_each(
            {name: scores[name] for name in self.naming if name in scores}, closed, self.depth, also, everything
        )
        columns: dict[str, Floats] = {f"{name}.score": found[users, items] for name, found in scores.items()}
        columns |= {f"{name}.rank": found for name, found in ranks.items()}
        columns |= _facts(behaviour, histories, users, items)
        table = np.stack(list(columns.values()), axis=1).astype(np.float32) if columns else np.zeros((0, 0), np.float32)
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


def _standardised(scores: Floats) -> Floats:
    spread = scores.std(axis=1, keepdims=True)
    return np.asarray((scores - scores.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1))
