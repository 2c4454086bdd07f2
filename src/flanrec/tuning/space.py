"""What a search may choose from: for each name a range or a list, perhaps only where other choices fell so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flanrec.errors import SettingsError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

Value = bool | int | float | str | None
When = Mapping[str, tuple[Value, ...]]
"""By the name of another choice, the values of it with which this one is made; all must fit."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Parameters
    ----------
    log
        Draw evenly in the logarithm.
    whole
        Draw whole numbers only.
    when
        Only where other choices fell so.

    Raises
    ------
    SettingsError
        The range holds fewer than two numbers, a bound is not finite or not whole, or `log` has a low of 0 or less.

    Examples
    --------
    >>> 5e-4 in Range(1e-4, 1e-3, log=True), 7 in Range(1, 5, whole=True)
    (True, False)
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False
    when: When = field(default_factory=dict)

    def __post_init__(self) -> None:
        told = f"the range from {self.low} to {self.high}"
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise SettingsError(f"{told} holds nothing to choose from; give finite bounds, low below high")
        if self.whole and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise SettingsError(f"{told} is of whole numbers; give whole bounds")
        if self.log and self.low <= 0:
            raise SettingsError(f"{told} cannot be drawn on a logarithmic scale; give a low above 0, or leave log out")

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def distribution(self) -> BaseDistribution:
        """As Optuna takes it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def draw(self, trial: Trial, name: str) -> float:
        """A number that the trial's sampler chooses."""
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def to_dict(self) -> dict[str, Any]:
        """As a space file says it."""
        return {"low": self.low, "high": self.high, **({"log": True} if self.log else {}), **_when(self.when)}


@dataclass(frozen=True)
class Choices:
    """One of some values.

    Parameters
    ----------
    when
        Only where other choices fell so.

    Raises
    ------
    SettingsError
        There are fewer than two different ones.
    """

    values: tuple[Value, ...]
    when: When = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(set(self.values)) < 2:
            raise SettingsError(f"the choices {list(self.values)} leave nothing to choose; give at least two")

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def distribution(self) -> BaseDistribution:
        """As Optuna takes it."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def draw(self, trial: Trial, name: str) -> Value:
        """A value that the trial's sampler chooses."""
        chosen: Value = trial.suggest_categorical(name, self.values)
        return chosen

    def to_dict(self) -> dict[str, Any]:
        """As a space file says it."""
        return {"choices": list(self.values), **_when(self.when)}


Space = Mapping[str, Range | Choices]
"""By name, what may be chosen."""


def ordered(space: Space) -> dict[str, Range | Choices]:
    """The space with each choice after those that it depends on.

    Raises
    ------
    SettingsError
        A choice depends on one that is not there, on a value that one cannot have, or in a circle on itself.
    """
    for name, choice in space.items():
        for other, values in choice.when.items():
            if other not in space:
                raise SettingsError(f"{name} is for some values of {other}, which is not chosen; choose it too")
            strange = [value for value in values if value not in space[other]]
            if strange or not values:
                raise SettingsError(f"{name} is for {other} = {strange or 'nothing'}, which {other} can never be")
    placed: dict[str, Range | Choices] = {}
    while len(placed) < len(space):
        free = {name: one for name, one in space.items() if name not in placed and set(one.when) <= set(placed)}
        if not free:
            raise SettingsError(f"{', '.join(name for name in space if name not in placed)} depend on each other")
        placed |= free
    return placed


def fits(choice: Range | Choices, values: Mapping[str, Value]) -> bool:
    """Whether a choice is made where others have these values; one that is not made fits nothing."""
    return all(other in values and values[other] in wanted for other, wanted in choice.when.items())


def chosen_of(space: Space, values: Mapping[str, Value]) -> dict[str, Value]:
    """Those of some values whose choices are made.

    >>> space = {"method": Choices(("full", "lora")), "rank": Range(1, 8, when={"method": ("lora",)})}
    >>> chosen_of(space, {"method": "full", "rank": 4}), chosen_of(space, {"method": "lora", "rank": 4})
    ({'method': 'full'}, {'method': 'lora', 'rank': 4})
    """
    kept: dict[str, Value] = {}
    for name, choice in ordered(space).items():
        if fits(choice, kept):
            kept[name] = values[name]
    return {name: kept[name] for name in space if name in kept}


def _when(when: When) -> dict[str, Any]:
    return {"when": {name: list(values) for name, values in when.items()}} if when else {}
