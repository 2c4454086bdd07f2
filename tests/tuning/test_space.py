"""Ranges and choices: what they hold, and which are refused."""

from __future__ import annotations

import pytest

from flanrec.errors import SettingsError
from flanrec.tuning.space import Choices, Range, Space, chosen_of, ordered


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


METHODS = Choices(("full", "lora"))


def test_choices_come_after_those_that_they_depend_on() -> None:
    rank, targets = Range(1, 8, when={"method": ("lora",)}), Choices((1, 2), {"rank": (1, 2, 3), "method": ("lora",)})
    space = {"targets": targets, "rank": rank, "method": METHODS}
    assert list(ordered(space)) == ["method", "rank", "targets"]
    assert list(chosen_of(space, {"targets": 1, "rank": 2, "method": "lora"})) == ["targets", "rank", "method"]
    # What depends on a choice that is not made is not made either.
    assert chosen_of(space, {"targets": 1, "rank": 2, "method": "full"}) == {"method": "full"}
    assert chosen_of(space, {"targets": 1, "rank": 7, "method": "lora"}) == {"rank": 7, "method": "lora"}


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"rank": Range(1, 8, when={"method": ("lora",)})}, "rank is for some values of method, which is not chosen"),
        ({"rank": Range(1, 8, when={"method": ("half",)}), "method": METHODS}, r"method = \['half'\]"),
        ({"rank": Range(1, 8, when={"method": ()}), "method": METHODS}, "method = nothing"),
        ({"a": Range(1, 8, when={"b": (2,)}), "b": Range(1, 8, when={"a": (2,)})}, "a, b depend on each other"),
    ],
)
def test_conditions_that_can_never_hold_are_refused(space: Space, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        ordered(space)
