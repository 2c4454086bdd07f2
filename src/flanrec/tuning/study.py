"""The trials of a search in a SQLite file that Optuna reads and writes; no pickle is in it.

Every finished trial is one transaction, so a killed search loses only the trial that ran.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from flanrec.errors import CheckpointError, SettingsError
from flanrec.tuning.fingerprint import refuse_difference
from flanrec.tuning.pruning import Point, median_pruner, places_of
from flanrec.tuning.space import Space, Value, chosen_of, fits, ordered

if TYPE_CHECKING:
    import optuna

_NAME = "flanrec"
_RECORD = "flanrec"
_FIRST_DRAWS = 8
_REPEATS = 10


@dataclass(frozen=True)
class Trial:
    """One choice of values, and what was measured with them.

    Attributes
    ----------
    number
        From 0, which is the start.
    per_user
        What was measured, a number a user; empty where the trial failed or was given up.
    seconds
        How long that took.
    problem
        Why the trial failed, or nothing.
    pruned
        Why it was given up halfway, or nothing.
    curve
        What it told on its way.
    """

    number: int
    values: Mapping[str, Value]
    per_user: tuple[float, ...]
    seconds: float
    problem: str = ""
    pruned: str = ""
    curve: tuple[Point, ...] = ()

    @cached_property
    def value(self) -> float:
        """The mean over the users; nan where the trial was not measured."""
        return float(np.mean(self.per_user)) if self.per_user else float("nan")


@contextlib.contextmanager
def opened(file: Path, facts: Mapping[str, Any], *, resume: bool) -> Iterator[optuna.Study]:
    """The study of a file, new or gone on with; one process at a time.

    Parameters
    ----------
    facts
        What decides the measurements, as JSON-able values by names that a person can read.

    Raises
    ------
    CheckpointError
        The file is no study of this kind, or its facts are others.
    SettingsError
        There are trials and `resume` is not asked, or another process has the file open.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as closing:
        try:
            closing.enter_context(FileLock(file.with_name(f".{file.name}.lock"), timeout=0))
        except Timeout as problem:
            raise SettingsError(f"{file} is in use by another search; wait for it, or give another folder") from problem
        try:
            # The path goes past the URL, in which a ? or a % would mean something.
            storage = optuna.storages.RDBStorage(
                "sqlite:///study", engine_kwargs={"creator": lambda: sqlite3.connect(file, check_same_thread=False)}
            )
            closing.callback(storage.engine.dispose)
            closing.callback(storage.remove_session)
            study = optuna.create_study(storage=storage, study_name=_NAME, direction="maximize", load_if_exists=True)
        except (SQLAlchemyError, RuntimeError) as problem:
            raise CheckpointError(
                f"{file} is no search that this version can read: {problem}. Remove it, or give another folder."
            ) from problem
        ours = json.loads(json.dumps(facts))
        if not study.trials:
            study.set_user_attr("facts", ours)
        elif not resume:
            raise SettingsError(f"{file} holds an earlier search; resume it, remove the file, or give another folder")
        refuse_difference(file, study.user_attrs.get("facts", {}), ours)
        for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            _close(study, trial.number, trial.user_attrs.get(_RECORD))
        yield study


def finished(study: optuna.Study, start: Mapping[str, Value]) -> list[Trial]:
    """The trials that were finished, in their order; neither repeats nor those that a kill cut short."""
    records = [(trial.params, trial.user_attrs[_RECORD]) for trial in study.trials if _RECORD in trial.user_attrs]
    return [
        Trial(
            number,
            params if number else dict(start),
            tuple(told["per_user"]),
            told["seconds"],
            told["problem"],
            told.get("pruned", ""),
            tuple(Point(*point) for point in told.get("curve", ())),
        )
        for number, (params, told) in enumerate(records)
    ]


def propose(study: optuna.Study, space: Space, done: Sequence[Trial], seed: int) -> optuna.Trial | None:
    """A trial with values that were not tried yet; None where the sampler only repeats itself.

    A choice that is not made with the others has no value in it.

    References
    ----------
    Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS 2011: the tree-structured Parzen estimator,
    after 8 random draws.
    """
    import optuna

    choices = ordered(space)
    for _ in range(_REPEATS):
        # A new sampler for each trial: a resumed search draws what it would have drawn, and a trial that
        # brought the process down is not drawn again.
        drawn = np.random.SeedSequence([seed, len(study.trials)]).generate_state(1)
        study.sampler = optuna.samplers.TPESampler(n_startup_trials=_FIRST_DRAWS, seed=int(drawn[0]))
        study.pruner = median_pruner()
        asked = study.ask()
        for name, choice in choices.items():
            if fits(choice, asked.params):
                choice.draw(asked, name)
        same = next((trial for trial in done if dict(trial.values) == asked.params), None)
        if same is None:
            return asked
        _close(study, asked, _record(same))
    return None


def keep(study: optuna.Study, asked: optuna.Trial, trial: Trial) -> None:
    """Write down how a proposed trial ended."""
    record = _record(trial)
    asked.set_user_attr(_RECORD, record)
    _close(study, asked, record)


def keep_start(study: optuna.Study, trial: Trial, space: Space, decisive: str | None) -> None:
    """Write down the start, with the points of the decisive stage for others to be held against.

    It may lie outside of the space; the sampler learns from what lies inside.
    """
    study.add_trial(frozen(trial, space, {_RECORD: _record(trial)}, places_of(trial.curve, decisive)))


def frozen(
    trial: Trial, space: Space, notes: Mapping[str, Any] | None = None, places: Mapping[int, float] | None = None
) -> optuna.trial.FrozenTrial:
    """A measured trial as Optuna keeps it, with those of its values that lie inside the space."""
    import optuna

    inside = {name: value for name, value in chosen_of(space, trial.values).items() if value in space[name]}
    return optuna.trial.create_trial(
        value=trial.value,
        params=inside,
        distributions={name: space[name].distribution() for name in inside},
        user_attrs=dict(notes or {}),
        intermediate_values=dict(places or {}),
    )


def _record(trial: Trial) -> dict[str, Any]:
    return {
        "seconds": trial.seconds,
        "per_user": list(trial.per_user),
        "problem": trial.problem,
        "pruned": trial.pruned,
        "curve": [[point.stage, point.share, point.value] for point in trial.curve],
    }


def _close(study: optuna.Study, trial: optuna.Trial | int, record: Mapping[str, Any] | None) -> None:
    """Tell the state of a trial: complete with its mean, or else pruned or failed."""
    import optuna

    if record is None or record["problem"]:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    elif record.get("pruned"):
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(trial, float(np.mean(record["per_user"])))
