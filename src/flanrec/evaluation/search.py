"""Which settings suit a log: trials of whole fits, measured on events that no fit has seen."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from flanrec.backbone import Backbone
from flanrec.backbone.adapters import fingerprint
from flanrec.data import Dataset, Split, leave_one_out
from flanrec.errors import DataError
from flanrec.evaluation.models import evaluate_model
from flanrec.evaluation.search_space import default_space
from flanrec.recommender import Recommender, RecommenderSettings
from flanrec.recommender.named import changed, setting_fields, value_of
from flanrec.recommender.stages import Callbacks
from flanrec.tuning.search import Found, search_values
from flanrec.tuning.space import Space, Value

logger = logging.getLogger(__name__)

STUDY = "study.db"
"""The file of the trials in the folder of a search."""
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
    """

    start: RecommenderSettings
    user_ids: Sequence[Any]

    @property
    def settings(self) -> RecommenderSettings:
        """The settings of the best trial."""
        return changed(self.start, self.best.values)

    def table(self) -> pl.DataFrame:
        """A row a trial: trial, ndcg@10 (null where it failed), seconds, a column for each setting, problem."""
        return pl.DataFrame(
            [
                {
                    "trial": trial.number,
                    METRIC: None if trial.problem else trial.value,
                    "seconds": round(trial.seconds, 1),
                    **trial.values,
                    "problem": trial.problem,
                }
                for trial in self.trials
            ],
            infer_schema_length=None,
            strict=False,
        )

    def per_user(self) -> pl.DataFrame:
        """A row a user: user_id, and NDCG@10 of each trial that did not fail."""
        columns = {f"trial_{trial.number}": trial.per_user for trial in self.trials if not trial.problem}
        return pl.DataFrame({"user_id": self.user_ids, **columns})


def search(
    backbone: Backbone,
    dataset: Dataset,
    folder: Path | str,
    *,
    minutes: float,
    preset: str = "balanced",
    settings: RecommenderSettings | None = None,
    space: Space | None = None,
    trials: int | None = None,
    resume: bool = False,
    callbacks: Callable[[int], Callbacks] | None = None,
    on_trial: Callable[[SettingsFound], None] | None = None,
) -> SettingsFound:
    """Choose settings by NDCG@10 of the fused reading, within a time budget.

    Of each user the last event is what a trial is measured on, and the one before is the validation event of its fit,
    which decides when tuning stops and how the sources are fused. The measured events are in neither part of the fit.

    Parameters
    ----------
    backbone
        The T5 that each trial tunes a copy of; it is not changed.
    dataset
        What may be seen. Keep test events out of it.
    folder
        Where the trials are kept, in ``study.db``.
    minutes, trials, resume
        As `search_values` takes them. Trial 0 always runs to its end.
    preset
        Names the default space, and the settings where none are given.
    settings
        Of trial 0; their seed is that of every fit and of the draws.
    space
        What may be chosen; see `flanrec.evaluation.search_space`.
    callbacks
        From the number of a trial, the callbacks of its fit.
    on_trial
        Told of everything found, after each trial.

    Raises
    ------
    DataError
        No user has three events.
    SettingsError, CheckpointError
        As `search_values` raises them.

    Examples
    --------
    Search for half an hour, then fit with what was found::

        found = flanrec.search(backbone, data, "found/", minutes=30)
        flanrec.Recommender(backbone, found.settings).fit(data)
    """
    begin = RecommenderSettings.preset(preset) if settings is None else settings
    space = default_space(preset) if space is None else space
    split = held_out(dataset)
    users = split.test.user_ids
    logger.info("each trial is measured on the last events of %d users", len(users))

    def measure(number: int, values: Mapping[str, Value]) -> list[float]:
        watching = None if callbacks is None else callbacks(number)
        return measured_trial(backbone, changed(begin, values), split, watching)

    def told(found: Found) -> None:
        if on_trial is not None:
            on_trial(settled(found))

    def settled(found: Found) -> SettingsFound:
        return SettingsFound(found.trials, found.stopped, start=begin, user_ids=users)

    found = search_values(
        space,
        {name: value_of(begin, name) for name in space},
        measure,
        Path(folder) / STUDY,
        minutes=minutes,
        trials=trials,
        seed=begin.seed,
        identity={
            "data": dataset.fingerprint(),
            "backbone": fingerprint(backbone),
            **{f"setting {name}": value_of(begin, name) for name in setting_fields()},
        },
        resume=resume,
        on_trial=told,
    )
    return settled(found)


def held_out(dataset: Dataset) -> Split:
    """What the fits of a search see (train and validation), and what they are measured on (test).

    Raises
    ------
    DataError
        No user has three events, so there is nothing to measure on.
    """
    split = leave_one_out(dataset)
    if split.test.interactions.height == 0:
        raise DataError(f"{dataset.name} has no user with three events, so nothing can be held out to measure on")
    return split


def measured_trial(
    backbone: Backbone, settings: RecommenderSettings, split: Split, callbacks: Callbacks | None = None
) -> list[float]:
    """NDCG@10 of each user of the split's test, by the fused reading of a fit on its other two parts."""
    fresh = replace(backbone, model=copy.deepcopy(backbone.model))
    recommender = Recommender(fresh, settings).fit(split.train, split.validation, callbacks=callbacks)
    values: list[float] = evaluate_model(recommender, split.test, [10]).per_user[METRIC].tolist()
    return values
