"""Ranges and choices: what they hold, and which are refused."""

from __future__ import annotations

import pytest

from flanrec.errors import SettingsError
from flanrec.tuning.space import Choices, Range


@pytest.mark.parametrize(
    ("low", "high", "log", "whole", "words"),
    [
        (2.0, 1.0, False, False, "low below high"),
        (1.0, 1.0, False, False, "low below high"),
        (0.0, float("inf"), False, False, "finite bounds"),
        (float("nan"), 1.0, False, False, "finite bounds"),
        (0.0, 1.0, True, False, "low above 0"),
        (1.5, 4.0, False, True, "whole bounds"),
    ],
)
def test_impossible_ranges_are_refused(low: float, high: float, log: bool, whole: bool, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Range(low, high, log, whole)


def test_one_choice_is_none() -> None:
    with pytest.raises(SettingsError, match="at least two"):
        Choices(("full", "full"))


def test_both_bounds_are_inside_and_true_is_no_number() -> None:
    assert all(value in Range(1, 3, whole=True) for value in (1, 2, 3))
    assert not any(value in Range(0, 3) for value in (-1e-9, 3.1, True, "2", None))
