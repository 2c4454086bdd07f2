"""Which settings suit a log: trials of whole fits, measured on events that no fit has seen."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from flanrec.backbone import Backbone
from flanrec.backbone.adapters import fingerprint
from flanrec.data import Dataset, Split, leave_one_out
from flanrec.errors import DataError
from flanrec.evaluation.models import evaluate_model
from flanrec.evaluation.search_results import METRIC, SettingsFound
from flanrec.evaluation.search_space import default_space, refuse_unread
from flanrec.recommender import Reading, Recommender, RecommenderSettings
from flanrec.recommender.named import changed, setting_fields, value_of
from flanrec.recommender.stages import Callbacks
from flanrec.tuning import Callback, Evaluation, StepRecord, TrainingReport
from flanrec.tuning.search import Found, Report, search_values
from flanrec.tuning.space import Space, Value

logger = logging.getLogger(__name__)

STUDY = "study.db"
"""The file of the trials in the folder of a search."""
DECISIVE: Mapping[Reading, str] = MappingProxyType(
    {"fused": "item tokens", "item_tokens": "item tokens", "generate": "words"}
)
"""The stage of a fit whose measurements foretell how a reading ranks."""
_UNNEEDED: Mapping[Reading, Mapping[str, Value]] = MappingProxyType(
    {
        "fused": {},
        "item_tokens": {"fusion.rounds": 0, "fusion.language_model": "never"},
        "generate": {"fusion.rounds": 0, "fusion.language_model": "never", "tokens.passes": 0.0},
    }
)
"""Settings that spare a trial what its reading does not read."""
_EVALUATIONS = 3


def search(
    backbone: Backbone,
    dataset: Dataset,
    folder: Path | str,
    *,
    minutes: float,
    preset: str = "balanced",
    settings: RecommenderSettings | None = None,
    space: Space | None = None,
    reading: Reading = "fused",
    prune: bool = True,
    trials: int | None = None,
    resume: bool = False,
    callbacks: Callable[[int], Callbacks] | None = None,
    on_trial: Callable[[SettingsFound], None] | None = None,
) -> SettingsFound:
    """Choose settings by NDCG@10 of a reading, within a time budget.

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
    reading
        What is measured: ``fused``, or how the language model ranks by itself, ``item_tokens`` or ``generate``. A trial
        tunes nothing that its reading does not read.
    prune
        Whether a trial is given up that is worse than most others at the same point of its tuning. For ``generate``
        the words are then measured three times on their way, unless the settings say how often.
    callbacks
        From the number of a trial, the callbacks of its fit.
    on_trial
        Told of everything found, after each trial.

    Raises
    ------
    DataError
        No user has three events.
    SettingsError, CheckpointError
        As `search_values` raises them; or the space has what the reading does not read.

    Examples
    --------
    Search for half an hour, then fit with what was found::

        found = flanrec.search(backbone, data, "found/", minutes=30)
        flanrec.Recommender(backbone, found.settings).fit(data)
    """
    begin = starting(RecommenderSettings.preset(preset) if settings is None else settings, reading, prune)
    space = default_space(preset, reading) if space is None else space
    refuse_unread(space, reading)
    split = held_out(dataset)
    users = split.test.user_ids
    logger.info("each trial is measured on the last events of %d users", len(users))

    def measure(number: int, values: Mapping[str, Value], report: Report) -> list[float]:
        watching = None if callbacks is None else callbacks(number)

        def told(stage: str) -> Sequence[Callback]:
            return [*(watching(stage) if watching else ()), _Reporter(stage, report)]

        return measured_trial(backbone, changed(begin, values), split, told, reading)

    def told(found: Found) -> None:
        if on_trial is not None:
            on_trial(settled(found))

    def settled(found: Found) -> SettingsFound:
        return SettingsFound(found.trials, found.stopped, start=begin, user_ids=users, space=space, reading=reading)

    found = search_values(
        space,
        {name: value_of(begin, name) for name in space},
        measure,
        Path(folder) / STUDY,
        minutes=minutes,
        trials=trials,
        seed=begin.seed,
        prune=DECISIVE[reading] if prune else None,
        identity={
            "data": dataset.fingerprint(),
            "backbone": fingerprint(backbone),
            **{f"setting {name}": value_of(begin, name) for name in setting_fields()},
            **({} if reading == "fused" else {"reading": reading}),
        },
        resume=resume,
        on_trial=told,
    )
    return settled(found)


def starting(settings: RecommenderSettings, reading: Reading, prune: bool) -> RecommenderSettings:
    """The settings of trial 0: those given, with measurements on the way where pruning needs them."""
    if reading != "generate" or not prune or settings.words.evaluate_every is not None or not settings.words.steps:
        return settings
    return changed(settings, {"words.evaluate_every": math.ceil(settings.words.steps / _EVALUATIONS)})


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
    backbone: Backbone,
    settings: RecommenderSettings,
    split: Split,
    callbacks: Callbacks | None = None,
    reading: Reading = "fused",
) -> list[float]:
    """NDCG@10 of each user of the split's test, by a reading of a fit on its other two parts."""
    fresh = replace(backbone, model=copy.deepcopy(backbone.model))
    recommender = Recommender(fresh, changed(settings, _UNNEEDED[reading]))
    recommender.fit(split.train, split.validation, callbacks=callbacks)
    values: list[float] = evaluate_model(recommender, split.test, [10], reading).per_user[METRIC].tolist()
    return values


class _Reporter:
    """Reports the measurements of a stage on its way."""

    def __init__(self, stage: str, report: Report) -> None:
        self.stage = stage
        self.report = report
        self.share = 1.0

    def on_step(self, record: StepRecord) -> None:
        self.share = record.step / record.steps

    def on_evaluation(self, evaluation: Evaluation) -> None:
        self.report(self.stage, self.share, evaluation.metrics[METRIC])

    def on_end(self, report: TrainingReport) -> None:
        pass
