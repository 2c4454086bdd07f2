"""How a policy is carried out: what all its rules so far ask for together, and what each of them moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from flanrec.errors import DataError
from flanrec.metrics.lists import EMPTY, BoolArray, FloatArray, IntegerArray, ItemLists, check_ranked, found_in
from flanrec.ranking.diversity import items_at
from flanrec.ranking.exposure import Quotas, quota_limits, shortfalls
from flanrec.ranking.facts import ItemFacts
from flanrec.ranking.greedy import Positions, TermMaker, select


class Note(NamedTuple):
    """What a rule could not do.

    ``users`` int64[n] are the rows that it concerns, empty where it is about the policy and not about a user.
    """

    rule: str
    text: str
    users: npt.NDArray[np.int64]

    def __str__(self) -> str:
        """Return one line for a log."""
        return f"{self.rule}: {f'{len(self.users)} lists ' if len(self.users) else ''}{self.text}"


@dataclass(frozen=True, eq=False)
class Reranked:
    """Lists under a policy.

    Parameters
    ----------
    items
        ``int64[n_users, k]`` catalogue indices, -1 where a list has run out.
    scores
        ``float64[n_users, k]``: the candidates' scores with boost, bury and freshness in them, -inf where there is no
        item. They need not fall along a list: rules about the list as a whole change the order only.
    notes
        What could not be done, and for whom.
    reasons
        One row for each item that a rule moved: user (row), item (index), rule, rank_before, rank_after (from 1, null
        outside of the list). Of rules that name items, the others are given only if they came into the list or left it,
        not if they just made room.
    """

    items: Positions
    scores: FloatArray
    notes: tuple[Note, ...]
    reasons: pl.DataFrame


@dataclass(frozen=True, eq=False)
class Plan:
    """Candidates and all that has been asked of them so far."""

    candidates: Positions
    scores: FloatArray
    spread: FloatArray
    quotas: Quotas
    k: int
    taste_weight: float = 0.0
    taste: TermMaker | None = None
    balance: float = 0.0
    diversity: TermMaker | None = None
    pins: Positions | None = None
    cell: int = 1

    @classmethod
    def of(cls, candidates: IntegerArray, scores: npt.NDArray[np.floating[Any]], items: ItemFacts, k: int) -> Plan:
        """Return a plan without rules."""
        given = check_ranked(candidates, len(items)).astype(np.int64)
        values = np.asarray(scores, dtype=np.float64)
        if values.shape != given.shape:
            raise DataError(f"there must be one score a candidate: candidates {given.shape}, scores {values.shape}")
        wide = max(items.category_shares.shape[1], 0 if items.vectors is None else items.vectors.shape[1], k)
        return cls(given, values, _spread(given, values), Quotas.none(len(items)), k, cell=wide)

    def without(self, blocked: BoolArray) -> Plan:
        """Take candidates away, ``bool[n_items]``."""
        out = (self.candidates != EMPTY) & blocked[np.maximum(self.candidates, 0)]
        return replace(self, candidates=np.where(out, EMPTY, self.candidates))

    def with_bonus(self, bonus: FloatArray) -> Plan:
        """Add to the scores of items, ``float64[n_items]`` in standard deviations of the user's scores."""
        return replace(self, scores=self.scores + self.spread * bonus[np.maximum(self.candidates, 0)])

    def with_pins(self, ranks: Positions, owned: ItemLists | None, notes: list[Note]) -> Plan:
        """Let items stand at ranks, ``int64[k]``; an item that is no candidate gets the user's lowest score.

        Where a user owns an item it is not pinned.
        """
        pins = np.tile(ranks, (len(self.candidates), 1))
        if owned is not None:
            had = found_in(pins, owned)
            if had.any():
                users = np.flatnonzero(had.any(axis=1))
                notes.append(Note("pin", "lack a pinned item, because their user has it already", users))
            pins[had] = EMPTY
        usable = (self.candidates != EMPTY) & np.isfinite(self.scores)
        lowest = np.where(usable, self.scores, np.inf).min(axis=1, initial=np.inf)
        added = np.flatnonzero(ranks != EMPTY)
        scores = np.repeat(np.where(np.isfinite(lowest), lowest, 0.0)[:, None], len(added), axis=1)
        return replace(
            self,
            candidates=np.hstack([self.candidates, pins[:, added]]),
            scores=np.hstack([self.scores, scores]),
            pins=pins,
        )

    def _positions(self) -> Positions:
        rest = 1.0 - self.taste_weight
        terms = [(self.taste_weight, self.taste), (rest * self.balance, self.diversity)]
        return select(
            self.candidates,
            self.scores,
            self.k,
            weight=rest * (1.0 - self.balance),
            terms=[(share, make) for share, make in terms if make is not None],
            limits=quota_limits(self.quotas) if self.quotas.names else None,
            pins=self.pins,
            cell=self.cell + len(self.quotas.names),
        )

    def lists(self) -> tuple[Positions, FloatArray]:
        """Return the chosen items and their scores, ``[n_users, k]``."""
        chosen = self._positions()
        values = np.full(chosen.shape, -np.inf)
        user, rank = np.nonzero(chosen != EMPTY)
        values[user, rank] = self.scores[user, chosen[user, rank]]
        return items_at(self.candidates, chosen), values

    def notes(self, chosen: Positions) -> list[Note]:
        """Return what quotas could not get, and which lists they left short."""
        off = shortfalls(chosen, self.quotas)
        notes = []
        for group, name in enumerate(self.quotas.names):
            below, above = np.flatnonzero(off[:, group] < 0), np.flatnonzero(off[:, group] > 0)
            least, most = self.quotas.least[group], self.quotas.most[group]
            if len(below):
                notes.append(Note(name, f"have fewer than {least}: their candidates give no more", below))
            if len(above):
                notes.append(Note(name, f"have more than {most}: pinned", above))
        if self.quotas.names:
            plain = items_at(self.candidates, select(self.candidates, self.scores, self.k))
            short = np.flatnonzero((chosen != EMPTY).sum(axis=1) < (plain != EMPTY).sum(axis=1))
            if len(short):
                notes.append(Note("quota", f"are shorter than {self.k}, to keep within a most", short))
        return notes


def _spread(candidates: Positions, scores: FloatArray) -> FloatArray:
    usable = (candidates != EMPTY) & np.isfinite(scores)
    count = np.maximum(usable.sum(axis=1, keepdims=True), 1)
    mean = np.where(usable, scores, 0.0).sum(axis=1, keepdims=True) / count
    deviation = np.sqrt(np.square(np.where(usable, scores - mean, 0.0)).sum(axis=1, keepdims=True) / count)
    return np.where((deviation > 0) & np.isfinite(deviation), deviation, 1.0)


def moves(
    rule: str, before: Positions, after: Positions, targets: BoolArray | None
) -> tuple[str, npt.NDArray[np.int64]]:
    """Return the rule with user, item, rank before and after (0 is none) of the items it moved, ``int64[n, 4]``.

    With targets, ``bool[n_items]``, other items whose rank changed within the list are left out.
    """
    same = (before[:, :, None] == after[:, None, :]) & (before != EMPTY)[:, :, None]
    went = np.where(same.any(axis=2), same.argmax(axis=2) + 1, 0)
    rank = np.arange(1, before.shape[1] + 1)
    old_user, old = np.nonzero((before != EMPTY) & (went != rank))
    new_user, new = np.nonzero((after != EMPTY) & ~same.any(axis=1))
    rows = np.vstack(
        [
            np.column_stack([old_user, before[old_user, old], old + 1, went[old_user, old]]),
            np.column_stack([new_user, after[new_user, new], np.zeros_like(new), new + 1]),
        ]
    )
    if targets is None:
        return rule, rows
    shifted = (rows[:, 2] > 0) & (rows[:, 3] > 0) & ~targets[rows[:, 1]]
    return rule, rows[~shifted]


def moves_table(found: Sequence[tuple[str, npt.NDArray[np.int64]]]) -> pl.DataFrame:
    """Return the moves of all rules as `Reranked.reasons`, by user, in the order of the rules."""
    rows = np.vstack([rows for _, rows in found]) if found else np.zeros((0, 4), dtype=np.int64)
    names = [rule for rule, moved in found for _ in range(len(moved))]
    frame = pl.DataFrame(
        {
            "user": rows[:, 0],
            "item": rows[:, 1],
            "rule": pl.Series(names, dtype=pl.String),
            "rank_before": rows[:, 2],
            "rank_after": rows[:, 3],
        }
    )
    ranks = [pl.col(name).replace(0, None) for name in ("rank_before", "rank_after")]
    return frame.with_columns(ranks).sort("user", maintain_order=True)
