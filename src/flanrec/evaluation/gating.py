"""How often a confidence gate is right: pseudo-labels against ratings that were held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from flanrec.errors import DataError
from flanrec.metrics.intervals import Interval, bootstrap_statistic

GATES = (0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class GatePrecision:
    """What one gate lets through.

    Attributes
    ----------
    gate
        Least probability of the label.
    pairs
        How many pairs there are; `labelled` of them pass.
    yes, no
        How many are labelled so.
    precision, yes_precision, no_precision
        Share of the labels that the ratings confirm, with intervals over users; nan where there are none.
    """

    gate: float
    pairs: int
    labelled: int
    yes: int
    no: int
    precision: Interval
    yes_precision: Interval
    no_precision: Interval

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        shares = {"precision": self.precision, "yes_precision": self.yes_precision, "no_precision": self.no_precision}
        return {
            "gate": self.gate, "pairs": self.pairs, "labelled": self.labelled, "yes": self.yes, "no": self.no,
            **{name: {"value": one.value, "low": one.low, "high": one.high} for name, one in shares.items()},
        }  # fmt: skip


def gate_precision(
    users: npt.ArrayLike,
    liked: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    gates: Sequence[float] = GATES,
    *,
    seed: int = 42,
    resamples: int = 500,
    level: float = 0.95,
) -> list[GatePrecision]:
    """Measure gates on pairs whose answer is known; intervals draw users, each with all their labels.

    Parameters
    ----------
    users
        ``[n]`` user of each pair.
    liked, probabilities
        ``[n]`` of 0/1, and of the probability of yes.

    Raises
    ------
    DataError
        The three are not of one length.

    Examples
    --------
    >>> found = gate_precision([1, 1, 2, 2], [1, 0, 1, 1], [0.95, 0.02, 0.5, 0.01], [0.9])[0]
    >>> found.labelled, found.precision.value, found.no_precision.value
    (3, 0.6666666666666666, 0.5)
    """
    names, yes, chances = np.asarray(users), np.asarray(liked, dtype=bool), np.asarray(probabilities, dtype=np.float64)
    if not len(names) == len(yes) == len(chances):
        raise DataError(
            f"there are {len(names)} users, {len(yes)} answers and {len(chances)} probabilities; give one each"
        )

    def right(rows: npt.NDArray[np.int64]) -> Interval:
        correct = (yes == (chances >= 0.5))[rows]
        return bootstrap_statistic(lambda drawn: float(correct[drawn].mean()), names[rows], seed, resamples, level)

    found = []
    for gate in gates:
        said_yes, said_no = np.flatnonzero(chances >= gate), np.flatnonzero(chances <= 1 - gate)
        both = np.concatenate([said_yes, said_no])
        counts = (len(chances), len(both), len(said_yes), len(said_no))
        found.append(GatePrecision(gate, *counts, right(both), right(said_yes), right(said_no)))
    return found


def gate_table(measured: Sequence[GatePrecision], title: str = "how often the gate is right") -> Table:
    """A row a gate."""
    table = Table("gate", "labelled", "right", "yes", "right", "no", "right", title=title)
    for one in measured:
        share = f"{one.labelled} ({one.labelled / one.pairs:.0%})" if one.pairs else "0"
        shares = (_share(one.precision), _share(one.yes_precision), _share(one.no_precision))
        table.add_row(f"{one.gate:g}", share, shares[0], str(one.yes), shares[1], str(one.no), shares[2])
    return table


def _share(interval: Interval) -> str:
    if not interval.count:
        return "–"
    return f"{interval.value:.1%} ({interval.low:.1%} – {interval.high:.1%})"
