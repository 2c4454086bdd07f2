"""Which of the things that a search chooses matter."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from flanrec.tuning.space import Space
from flanrec.tuning.study import Trial, frozen

ENOUGH = 10
"""Measured trials below which nothing is said."""
_BEST = 5


def importances(space: Space, trials: Sequence[Trial]) -> dict[str, float]:
    """How much each choice matters for being among the better trials: shares that add up to 1, largest first.

    Nothing where fewer than `ENOUGH` trials were measured.

    References
    ----------
    Watanabe et al., "PED-ANOVA: Efficiently quantifying hyperparameter importance in arbitrary subspaces", IJCAI 2023:
    the density of a choice among the best trials against that among all, where Optuna has it by their extension to
    choices that are not always made.
    """
    import optuna

    measured = [trial for trial in trials if trial.per_user]
    if len(measured) < ENOUGH:
        return {}
    study = optuna.create_study(direction="maximize", storage=optuna.storages.InMemoryStorage())
    study.add_trials([frozen(trial, space) for trial in measured])
    # Five trials are the fewest that a density says something of.
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=max(0.1, _BEST / len(measured)))
    with warnings.catch_warnings():
        # That a choice was seldom made is in the number of trials, which decides whether anything is said.
        warnings.simplefilter("ignore")
        return optuna.importance.get_param_importances(study, evaluator=evaluator)
