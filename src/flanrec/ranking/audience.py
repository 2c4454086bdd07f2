"""The audience of an item: which attributes the users have who met it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flanrec.data.sequences import Sequences
from flanrec.ranking.pool import Floats

_PRIOR = 10.0
_FEWEST = 5
_MOST = 50
_BINS = 6


@dataclass(frozen=True, eq=False)
class Audience:
    """How often users with each value of each attribute met each item.

    A user's attributes speak for an item by ``sum_a log((n_aj + c s_a) / (n_j + c) / s_a)``, where ``n_aj`` of the
    ``n_j`` users of item ``j`` have the value ``a``, which a share ``s_a`` of all users has, and ``c`` is 10: naive
    Bayes with the share as its prior (Pazzani, "A Framework for Collaborative, Content-Based and Demographic
    Filtering", 1999).

    Attributes
    ----------
    edges
        By attribute that is a number: ascending borders of its bins.
    column
        Of each pair of attribute and value.
    evidence
        float32 [n_values, n_items], the summands.
    """

    edges: Mapping[str, NDArray[np.float64]]
    column: Mapping[tuple[str, str], int]
    evidence: Floats

    @classmethod
    def fit(cls, log: Sequences, attributes: Sequence[Mapping[str, str]]) -> Audience:
        """Count.

        Parameters
        ----------
        attributes
            Of each user of the log, as text. Numbers are put into six bins of equal size. An attribute with more
            than 50 values tells users apart and not kinds of users, and is left out; so is a value of fewer than 5.
        """
        names = sorted({name for told in attributes for name in told})
        edges = {
            name: found for name in names if (found := _borders([told.get(name) for told in attributes])) is not None
        }
        rows = [_values(told, edges) for told in attributes]
        kinds: dict[str, set[str]] = {}
        counts: dict[tuple[str, str], int] = {}
        for row in rows:
            for name, value in row:
                kinds.setdefault(name, set()).add(value)
                counts[name, value] = counts.get((name, value), 0) + 1
        kept = sorted(pair for pair, count in counts.items() if count >= _FEWEST and len(kinds[pair[0]]) <= _MOST)
        column = {pair: at for at, pair in enumerate(kept)}
        n_items = len(log.item_ids)
        met = np.zeros((len(kept), n_items))
        total = np.zeros(n_items)
        for user, row in enumerate(rows):
            items = np.unique(log.of(user))
            total[items] += 1
            for pair in row:
                if pair in column:
                    met[column[pair], items] += 1
        shares = np.array([counts[pair] for pair in kept]).reshape(-1, 1) / max(len(rows), 1)
        evidence = np.log((met + _PRIOR * shares) / (total + _PRIOR) / np.where(shares > 0, shares, 1))
        return cls(edges, column, evidence.astype(np.float32))

    def scores(self, attributes: Sequence[Mapping[str, str]]) -> Floats:
        """What users' attributes say of every item: float32 [n_users, n_items], 0 where nothing is known."""
        found = np.zeros((len(attributes), self.evidence.shape[1]), dtype=np.float32)
        for user, told in enumerate(attributes):
            rows = [self.column[pair] for pair in _values(told, self.edges) if pair in self.column]
            found[user] = self.evidence[rows].sum(axis=0)
        return found


def _borders(values: Sequence[str | None]) -> NDArray[np.float64] | None:
    """Borders of bins of equal size, where all values are numbers and more than the bins."""
    try:
        numbers = [float(value) for value in values if value is not None]
    except ValueError:
        return None
    if len(set(numbers)) <= _BINS or not np.isfinite(numbers).all():
        return None
    return np.unique(np.quantile(numbers, np.linspace(0, 1, _BINS + 1)[1:-1]))


def _values(told: Mapping[str, str], edges: Mapping[str, NDArray[np.float64]]) -> list[tuple[str, str]]:
    found = []
    for name, value in told.items():
        if name not in edges:
            found.append((name, value))
            continue
        try:
            found.append((name, str(int(np.searchsorted(edges[name], float(value), side="right")))))
        except ValueError:
            continue
    return found
