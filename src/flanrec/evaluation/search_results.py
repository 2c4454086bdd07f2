"""What a search for settings has found, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from flanrec.recommender import Reading, RecommenderSettings
from flanrec.recommender.named import changed
from flanrec.tuning.importance import importances
from flanrec.tuning.search import Found
from flanrec.tuning.space import Space

METRIC = "ndcg@10"


@dataclass(frozen=True, kw_only=True)
class SettingsFound(Found):
    """What a search for settings has found so far.

    Attributes
    ----------
    start
        The settings of trial 0.
    user_ids
        Whose events were measured, in the order of each trial's ``per_user``.
    space
        What was chosen from.
    reading
        What was measured.
    """

    start: RecommenderSettings
    user_ids: Sequence[Any]
    space: Space
    reading: Reading

    @property
    def settings(self) -> RecommenderSettings:
        """The settings of the best trial."""
        return changed(self.start, self.best.values)

    def table(self) -> pl.DataFrame:
        """A row a trial: trial, ndcg@10, seconds, a column for each setting, problem.

        Without ndcg@10 the problem says why it failed or was given up. A setting that a trial did not choose is null.
        """
        return pl.DataFrame(
            [
                {
                    "trial": trial.number,
                    METRIC: trial.value if trial.per_user else None,
                    "seconds": round(trial.seconds, 1),
                    **{name: trial.values.get(name) for name in self.space},
                    "problem": trial.problem or (f"given up: {trial.pruned}" if trial.pruned else ""),
                }
                for trial in self.trials
            ],
            infer_schema_length=None,
            strict=False,
        )

    def per_user(self) -> pl.DataFrame:
        """A row a user: user_id, and NDCG@10 of each trial that was measured."""
        columns = {f"trial_{trial.number}": trial.per_user for trial in self.trials if trial.per_user}
        return pl.DataFrame({"user_id": self.user_ids, **columns})

    def curves(self) -> pl.DataFrame:
        """A row a measurement on the way of a trial: trial, stage, share of the stage's steps, ndcg@10."""
        rows = [(trial.number, *point) for trial in self.trials for point in trial.curve]
        schema = {"trial": pl.Int64, "stage": pl.String, "share": pl.Float64, METRIC: pl.Float64}
        return pl.DataFrame(rows, schema=schema, orient="row")

    @cached_property
    def importances(self) -> dict[str, float]:
        """How much each setting matters, as `flanrec.tuning.importance` says; nothing while trials are too few."""
        return importances(self.space, self.trials)
