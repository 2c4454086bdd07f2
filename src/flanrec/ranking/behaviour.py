"""The closed-form half of a fusion: every source that learns from the log by counting or solving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flanrec.candidates import Scorer
from flanrec.catalogue.people import Person
from flanrec.data.sequences import Sequences
from flanrec.ranking.audience import Audience
from flanrec.ranking.moments import Moments
from flanrec.ranking.pool import Floats, Ints
from flanrec.ranking.voices import VOICES

_DAYS = 7.0
_FADING = 0.9


@dataclass(frozen=True, eq=False)
class Behaviour:
    """What counting and solving make of one log.

    Attributes
    ----------
    scorers
        Of `VOICES`, by name.
    moments
        The log by time.
    audience
        What users' attributes tell.
    groups
        float32 [n_items, n_groups], which categories and decades an item is in, rows of length one or zero.
    years
        float32 [n_items], nan where unknown.
    """

    scorers: Mapping[str, Scorer]
    moments: Moments
    audience: Audience
    groups: Floats
    years: Floats

    @classmethod
    def fit(
        cls,
        log: Sequences,
        attributes: Sequence[Mapping[str, str]],
        members: NDArray[np.bool_],
        years: Sequence[int | None],
    ) -> Behaviour:
        """Fit every source on a log.

        Parameters
        ----------
        attributes
            Of each user of the log.
        members
            bool [n_items, n_groups], which categories and decades an item is in.
        years
            Of each item, None where unknown.
        """
        scorers = {name: voice.source.fit(log) for name, voice in VOICES.items()}
        return cls._of(scorers, log, attributes, members, years)

    def update(
        self,
        whole: Sequences,
        attributes: Sequence[Mapping[str, str]],
        members: NDArray[np.bool_],
        years: Sequence[int | None],
        *,
        log: Sequences,
        before: Sequences,
    ) -> Behaviour:
        """The sources of a log to which events were added; what `fit` makes of the whole log, up to rounding.

        Parameters
        ----------
        whole, attributes, members, years
            As `fit` takes them, of the log with the added events.
        log, before
            The added events, each user's after all that were known, and what these users had before: as
            `flanrec.candidates.Scorer.update` takes them. New items are behind the known ones.
        """
        scorers = {name: scorer.update(log, before) for name, scorer in self.scorers.items()}
        return self._of(scorers, whole, attributes, members, years)

    @classmethod
    def _of(
        cls,
        scorers: Mapping[str, Scorer],
        log: Sequences,
        attributes: Sequence[Mapping[str, str]],
        members: NDArray[np.bool_],
        years: Sequence[int | None],
    ) -> Behaviour:
        counts = np.sqrt(np.maximum(members.sum(axis=1, keepdims=True), 1)).astype(np.float32)
        return cls(
            scorers,
            Moments.of(log),
            Audience.fit(log, attributes),
            members / counts,
            np.array([np.nan if year is None else year for year in years], dtype=np.float32),
        )

    @cached_property
    def log_shares(self) -> Floats:
        """Log of each item's share of all events: float32 [n_items]."""
        shares: Floats = self.scorers["popularity"].scores([np.zeros(0, dtype=np.int64)])[0]
        return shares

    def scores(self, persons: Sequence[Person]) -> dict[str, Floats]:
        """Every source's scores on one scale: log-probabilities, or standardised over the items of each user.

        Returns
        -------
        dict
            By source: float32 [n_users, n_items].
        """
        histories = [person.items for person in persons]
        found = {
            name: voice.scaled(self.scorers[name].scores(histories), self.log_shares) for name, voice in VOICES.items()
        }
        found["recent"] = self.moments.log_shares([person.moment for person in persons], _DAYS)
        found["audience"] = self.audience.scores([person.attributes for person in persons])
        found["kind"] = likeness(self.groups, histories)
        found["years"] = np.array([self._near_in_time(history) for history in histories], dtype=np.float32)
        return found

    def _near_in_time(self, history: Ints) -> Floats:
        """How near the items' years are to the mean of the newest: decades, at most three, below zero."""
        newest = self.years[history[-5:]]
        known = newest[~np.isnan(newest)]
        away = np.abs(self.years - (known.mean() if len(known) else np.nan)) / 10
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
    means = np.zeros((len(histories), vectors.shape[1]), dtype=np.float32)
    for row, history in enumerate(histories):
        if len(history):
            weights = _FADING ** np.arange(len(history) - 1, -1, -1)
            means[row] = weights @ vectors[history] / weights.sum()
    return np.asarray(means @ vectors.T)
