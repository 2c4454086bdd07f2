"""What a search may choose from: a range of numbers or a list of choices for each name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flanrec.errors import SettingsError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = bool | int | float | str | None


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Parameters
    ----------
    log
        Draw evenly in the logarithm.
    whole
        Draw whole numbers only.

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

    def to_dict(self) -> dict[str, Any]:
        """As a space file says it."""
        return {"low": self.low, "high": self.high, **({"log": True} if self.log else {})}


@dataclass(frozen=True)
class Choices:
    """One of some values.

    Raises
    ------
    SettingsError
        There are fewer than two different ones.
    """

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if len(set(self.values)) < 2:
            raise SettingsError(f"the choices {list(self.values)} leave nothing to choose; give at least two")

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def distribution(self) -> BaseDistribution:
        """As Optuna takes it."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def to_dict(self) -> dict[str, Any]:
        """As a space file says it."""
        return {"choices": list(self.values)}


Space = Mapping[str, Range | Choices]
"""By name, what may be chosen."""
