"""A comparison: methods that ranked for the same users, held against one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flanrec.errors import DataError, NotFoundError, SettingsError
from flanrec.evaluation import segments
from flanrec.evaluation.methods import KINDS, TIE_RULE, K, Kind, Row, known_or_none
from flanrec.evaluation.tasks import MEANING, RankingTask, Rule
from flanrec.metrics import Interval, UserItems, coverage, hit_rate, ndcg
from flanrec.metrics.beyond import mean_popularity
from flanrec.metrics.intervals import interval_of, resampled_means

Floats = NDArray[np.float64]

DEFINITIONS = {
    "NDCG@10": "1/log2(rank+1) of the held-out item in the list of ten, 0 where it is not in it; with several held-out "
    "items their sum, divided by the largest that ten places can give. Mean over users.",
    "HR@10": "share of the users with a held-out item among their ten.",
    "interval": "95 % percentile bootstrap over users; all rows are drawn with the same users.",
    "difference": "NDCG@10 of the row minus that of the reference row, user by user, with its interval from the same "
    "draws. Intervals are of each row alone; with many rows some miss zero by chance.",
    "coverage": "share of the items that could be ranked that are in at least one list.",
    "popularity": "training events of the items in a list, the mean over the list and then over users.",
    "seconds to fit": "wall time on this machine, item texts and validation included; all readings of a recommender "
    "share one fit, and of one that was interrupted the last part counts. A dash where it is not known, as for rows "
    "that share their work with others.",
    "ms a user": "wall time on this machine to rank the catalogue for one user, the mean over all of them.",
}
"""Each number of a comparison in words."""


@dataclass(frozen=True)
class Standing:
    """The numbers of one row over some users.

    Attributes
    ----------
    ndcg, hit_rate
        Means of NDCG@10 and HR@10 with intervals.
    difference
        NDCG@10 against the reference row, paired.
    """

    ndcg: Interval
    hit_rate: Interval
    difference: Interval

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        named = {"ndcg@10": self.ndcg, "hit_rate@10": self.hit_rate, "difference": self.difference}
        return {name: {"value": one.value, "low": one.low, "high": one.high} for name, one in named.items()}


@dataclass(frozen=True, eq=False)
class Comparison:
    """Rows over the same users.

    Attributes
    ----------
    data
        Name of the data set.
    rule, seed
        Of the task.
    rows
        Each with a name of its own.
    reference
        Name of the row that all are held against.
    counts
        int64 [n_items], training events of each item.
    events
        int64 [n_users], events of each user when asking.
    relevant
        Held-out items, at least one a user.
    ranked
        How many items could be ranked.
    resamples, level
        Of the bootstrap, which is drawn by `seed`.
    """

    data: str
    rule: Rule
    seed: int
    rows: tuple[Row, ...]
    reference: str
    counts: NDArray[np.int64]
    events: NDArray[np.int64]
    relevant: UserItems
    ranked: int
    notes: tuple[str, ...] = ()
    resamples: int = 2000
    level: float = 0.95

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            raise SettingsError(f"two rows have one name among {', '.join(names)}; name each apart")
        if self.reference not in names:
            raise NotFoundError(f"there is no row {self.reference!r} to compare with; the rows are {', '.join(names)}")
        for row in self.rows:
            if row.items.shape != (len(self.events), K):
                raise DataError(f"row {row.name!r} has lists of shape {row.items.shape}, not {(len(self.events), K)}")

    @classmethod
    def of(cls, task: RankingTask, rows: Sequence[Row], reference: str, notes: Sequence[str] = ()) -> Comparison:
        """Compare rows of one task.

        Raises
        ------
        NotFoundError
            No row has the name of the reference.
        SettingsError
            Two rows have one name.
        DataError
            A row is not of the task's users.
        """
        return cls(
            data=task.known.name,
            rule=task.rule,
            seed=task.seed,
            rows=tuple(rows),
            reference=reference,
            counts=task.counts,
            events=np.array([len(person.items) for person in task.people], dtype=np.int64),
            relevant=task.relevant,
            ranked=task.n_items if task.allowed is None else int(task.allowed.sum()),
            notes=(*task.notes, *notes),
        )

    @cached_property
    def per_user(self) -> dict[str, Floats]:
        """``ndcg@10`` and ``hit_rate@10``: float64 [n_users, n_rows]."""
        return {
            "ndcg@10": np.stack([ndcg(row.items, self.relevant, K) for row in self.rows], axis=1),
            "hit_rate@10": np.stack([hit_rate(row.items, self.relevant, K) for row in self.rows], axis=1),
        }

    @cached_property
    def segments(self) -> dict[str, NDArray[np.bool_]]:
        """Which users are in which segment; those without users are left out."""
        found = segments.segments_of(self.counts, self.relevant, self.events)
        return {name: users for name, users in found.items() if users.any()}

    @cached_property
    def standings(self) -> dict[str, Standing]:
        """By name of the row, over all users."""
        return self._standings(np.ones(len(self.events), dtype=bool))

    @cached_property
    def by_segment(self) -> dict[str, dict[str, Standing]]:
        """By segment and name of the row, over the users of the segment."""
        return {name: self._standings(users) for name, users in self.segments.items()}

    def coverage(self, row: Row) -> float:
        """Share of the items that could be ranked that are in at least one list."""
        return coverage(row.items, len(self.counts)) * len(self.counts) / self.ranked

    def popularity(self, row: Row) -> float:
        """Mean training events of the recommended items; nan where every list is empty."""
        means = mean_popularity(row.items, self.counts)
        return float(np.nanmean(means)) if np.isfinite(means).any() else float("nan")

    def best(self, kind: Kind) -> Row | None:
        """The row of a kind with the highest NDCG@10, the first of equal ones; None where there is no such row."""
        of_kind = [row for row in self.rows if row.kind == kind]
        return max(of_kind, key=lambda row: self.standings[row.name].ndcg.value, default=None)

    def _standings(self, users: NDArray[np.bool_]) -> dict[str, Standing]:
        ndcgs, hits = (self.per_user[name][users] for name in ("ndcg@10", "hit_rate@10"))
        drawn = resampled_means(np.concatenate([ndcgs, hits], axis=1), self.seed, self.resamples)
        drawn_ndcgs, drawn_hits = drawn[:, : len(self.rows)], drawn[:, len(self.rows) :]
        base = [row.name for row in self.rows].index(self.reference)
        differences = ndcgs - ndcgs[:, [base]]
        drawn_differences = drawn_ndcgs - drawn_ndcgs[:, [base]]
        return {
            row.name: Standing(
                *(
                    interval_of(float(values[:, at].mean()), draws[:, at], len(values), self.level)
                    for values, draws in ((ndcgs, drawn_ndcgs), (hits, drawn_hits), (differences, drawn_differences))
                )
            )
            for at, row in enumerate(self.rows)
        }

    def to_dict(self) -> dict[str, Any]:
        """As plain values; the same task, methods and seed give the same but for the times under ``seconds``."""
        return {
            "data": self.data,
            "split": self.rule,
            "split_definition": MEANING[self.rule],
            "seed": self.seed,
            "users": len(self.events),
            "training_events": int(self.counts.sum()),
            "catalogue": len(self.counts),
            "ranked_items": self.ranked,
            "reference": self.reference,
            "rows": [
                {
                    "name": row.name,
                    "kind": row.kind,
                    "settings": row.settings,
                    **self.standings[row.name].to_dict(),
                    "coverage@10": self.coverage(row),
                    "popularity@10": self.popularity(row),
                    "segments": {name: rows[row.name].to_dict() for name, rows in self.by_segment.items()},
                }
                for row in self.rows
            ],
            "segments": {
                name: {"users": int(users.sum()), "definition": segments.DEFINITIONS[name]}
                for name, users in self.segments.items()
            },
            "definitions": {**DEFINITIONS, **{f"kind {kind}": words for kind, words in KINDS.items()}},
            "tie_rule": TIE_RULE,
            "bootstrap": {"level": self.level, "resamples": self.resamples, "seed": self.seed},
            "notes": list(self.notes),
            "seconds": {
                row.name: {"fit": known_or_none(row.fit_seconds), "user": known_or_none(row.user_seconds)}
                for row in self.rows
            },
        }
