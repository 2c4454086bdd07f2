"""When a trial is given up, by Optuna's own study in main memory."""

from __future__ import annotations

import math

import pytest

optuna = pytest.importorskip("optuna", reason="needs the extra: pip install 'flanrec[search]'")

from flanrec.tuning import GivenUpError  # noqa: E402
from flanrec.tuning.pruning import Point, TrialCourse, median_pruner, places_of  # noqa: E402


def study_of(values: list[float]) -> optuna.Study:
    """Whole trials, each with a value in the middle and at the end."""
    study = optuna.create_study(direction="maximize", pruner=median_pruner())
    for value in values:
        trial = study.ask()
        for share in (0.5, 1.0):
            trial.report(share * value, round(100 * share))
        study.tell(trial, value)
    return study


def test_below_the_median_at_the_same_point_it_is_given_up() -> None:
    study = study_of([0.2, 0.4, 0.6, 0.8, 1.0])  # a median of 0.3 in the middle
    TrialCourse(study.ask(), "words")("words", 0.5, 0.31)
    with pytest.raises(GivenUpError, match=r"0\.2900 after 50 % of the steps of words, below the median"):
        TrialCourse(study.ask(), "words")("words", 0.5, 0.29)


@pytest.mark.parametrize(
    ("stage", "share", "value"),
    [
        ("words", 1.0, 0.0),  # at the end the rest is short
        ("words", 0.25, 0.0),  # before the half nothing is compared
        ("words", 0.6, 0.0),  # nobody was measured there
        ("item tokens", 0.5, 0.0),  # does not foretell the measurement
        ("words", 0.5, math.nan),
    ],
)
def test_elsewhere_it_goes_on_and_is_taken_down_all_the_same(stage: str, share: float, value: float) -> None:
    course = TrialCourse(study_of([0.2, 0.4, 0.6, 0.8, 1.0]).ask(), "words")
    course(stage, share, value)
    assert [(point.stage, point.share) for point in course.points] == [(stage, share)]


def test_an_early_lead_saves_nobody() -> None:
    course = TrialCourse(study_of([0.2, 0.4, 0.6, 0.8, 1.0]).ask(), "words")
    course("words", 0.25, 0.9)
    with pytest.raises(GivenUpError):
        course("words", 0.5, 0.1)


def test_the_best_so_far_counts_not_the_last() -> None:
    course = TrialCourse(study_of([0.2, 0.4, 0.6, 0.8, 1.0]).ask(), "words")
    course("words", 0.5, 0.7)
    course("words", 0.75, 0.1)
    assert len(course.points) == 2


def test_the_first_whole_trials_are_let_be() -> None:
    TrialCourse(study_of([0.6, 0.8, 0.8, 1.0]).ask(), "words")("words", 0.5, 0.0)


def test_without_a_trial_nothing_is_judged() -> None:
    course = TrialCourse()
    course("words", 0.5, 0.0)
    assert course.points == [Point("words", 0.5, 0.0)]


def test_what_is_compared_is_the_decisive_stage_from_its_half_on() -> None:
    curve = [Point("words", 1.0, 0.1), Point("item tokens", 0.25, 0.2), Point("item tokens", 0.504, 0.3),
             Point("item tokens", 1.0, math.nan)]  # fmt: skip
    assert places_of(curve, "item tokens") == {50: 0.3}
    assert places_of(curve, None) == {}
