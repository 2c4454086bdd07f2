"""Choosing values by Optuna within a time budget: ask, measure, tell.

What is measured is handed in as a function, and gives one number a user, so that two trials can be compared in pairs.
"""

from __future__ import annotations

import importlib.util
import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flanrec.errors import FlanrecError, SettingsError
from flanrec.metrics.intervals import PairedDifference, paired_bootstrap
from flanrec.tuning.callbacks import GivenUpError
from flanrec.tuning.pruning import TrialCourse
from flanrec.tuning.space import Space, Value, chosen_of
from flanrec.tuning.study import Trial, finished, keep, keep_start, opened, propose

logger = logging.getLogger(__name__)

Stopped = Literal["", "minutes", "trials", "space"]
Report = Callable[[str, float, float], None]
"""Told, on a trial's way, of a stage, the share of its steps that were made, and a value; may raise GivenUpError."""
Measure = Callable[[int, Mapping[str, Value], Report], Sequence[float]]
"""From the number of a trial and its values: one finite number a user, higher is better."""


@dataclass(frozen=True)
class Found:
    """What a search has found so far.

    Attributes
    ----------
    trials
        In their order; the first is the start.
    stopped
        What ended the search: its minutes, its number of trials, or that the space has nothing new. Nothing
        while it runs.
    """

    trials: tuple[Trial, ...]
    stopped: Stopped = ""

    @property
    def best(self) -> Trial:
        """The trial with the highest mean; of equal ones the earliest."""
        return max((trial for trial in self.trials if trial.per_user), key=lambda trial: trial.value)

    def gain(self, seed: int = 42) -> PairedDifference:
        """The best against the start, user by user.

        The best was chosen on these very users, so the difference and its interval are too high.
        """
        return paired_bootstrap(self.best.per_user, self.trials[0].per_user, seed)


def search_values(
    space: Space,
    start: Mapping[str, Value],
    measure: Measure,
    file: Path,
    *,
    minutes: float,
    trials: int | None = None,
    seed: int = 42,
    prune: str | None = None,
    identity: Mapping[str, Any] | None = None,
    resume: bool = False,
    on_trial: Callable[[Found], None] | None = None,
) -> Found:
    """Try values until the time is spent; the first trial is the start, so the best is never worse than it.

    Parameters
    ----------
    space
        What may be chosen.
    start
        A value for each name of the space; they may lie outside of it. Those of choices that are not made with the
        others are passed over.
    measure
        What is to be high. Where it raises a `FlanrecError` the trial has failed and the search goes on, unless it is
        the first.
    file
        SQLite file of the Optuna study, ``flanrec``.
    minutes
        Of all trials together, also of those before a resume. No trial starts when the median of the earlier ones
        would overrun them; one that runs is not cut.
    trials
        Most trials, failed ones and those before a resume included.
    seed
        Decides what is drawn.
    prune
        The stage whose reports decide whether a trial is given up (see `median_pruner`); None gives none up.
    identity
        What else decides the measurements, by names that a person can read; a resumed search must have the same.
    resume
        Go on from the trials in `file`, if there are any.
    on_trial
        Told of everything found after each trial, and of what a resumed search begins with.

    Raises
    ------
    SettingsError
        Optuna is missing, the space is empty, minutes or trials are not above 0, or `file` has trials and `resume` is
        not asked.
    CheckpointError
        `file` is no study of this kind, or that of another search.
    """
    _check(space, minutes, trials)
    start = chosen_of(space, start)
    facts = {f"start of {name}": value for name, value in start.items()} | dict(identity or {})
    facts |= {f"space of {name}": choice.to_dict() for name, choice in space.items()} | {"seed of the search": seed}
    tell = on_trial or (lambda found: None)
    with opened(file, facts, resume=resume) as study:
        done = finished(study, start)
        spent = sum(trial.seconds for trial in done)
        began = time.monotonic()
        if done:
            logger.info("%s: going on after %d trials", file, len(done))
            tell(Found(tuple(done)))
        else:
            done.append(_try(0, start, measure, TrialCourse()))
            keep_start(study, done[0], space, prune)
            _announce(done, tell)
        while not (stopped := _why_stop(done, spent + time.monotonic() - began, 60 * minutes, trials)):
            asked = propose(study, space, done, seed)
            if asked is None:
                return Found(tuple(done), "space")
            done.append(_try(len(done), asked.params, measure, TrialCourse(asked, prune)))
            keep(study, asked, done[-1])
            _announce(done, tell)
    return Found(tuple(done), stopped)


def require_optuna() -> None:
    """Raise SettingsError, naming the extra, where Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise SettingsError("Optuna is not installed: pip install 'flanrec[search]'.")


def _check(space: Space, minutes: float, trials: int | None) -> None:
    require_optuna()
    if not space:
        raise SettingsError("the space is empty; name at least one setting to choose")
    if not 0 < minutes < float("inf"):
        raise SettingsError(f"minutes is {minutes}; give a number above 0")
    if trials is not None and trials < 1:
        raise SettingsError(f"trials is {trials}; give at least 1")


def _why_stop(done: Sequence[Trial], spent: float, budget: float, trials: int | None) -> Stopped:
    if trials is not None and len(done) >= trials:
        return "trials"
    if spent + statistics.median(trial.seconds for trial in done if trial.per_user) > budget:
        return "minutes"
    return ""


def _try(number: int, values: Mapping[str, Value], measure: Measure, course: TrialCourse) -> Trial:
    began = time.monotonic()
    measured: tuple[float, ...] = ()
    problem = pruned = ""
    try:
        measured = tuple(float(value) for value in measure(number, values, course))
    except FlanrecError as wrong:
        if not number:
            raise
        if isinstance(wrong, GivenUpError):
            pruned = str(wrong)
        else:
            problem = str(wrong)
    return Trial(number, dict(values), measured, time.monotonic() - began, problem, pruned, tuple(course.points))


def _announce(done: Sequence[Trial], tell: Callable[[Found], None]) -> None:
    found, last = Found(tuple(done)), done[-1]
    if last.problem:
        logger.warning("trial %d failed: %s", last.number, last.problem)
    elif last.pruned:
        logger.info("trial %d given up in %.0f s: %s", last.number, last.seconds, last.pruned)
    else:
        logger.info("trial %d: %.4f in %.0f s; the best is %.4f of trial %d", last.number, last.value, last.seconds,
                    found.best.value, found.best.number)  # fmt: skip
    tell(found)
