"""Whether an engine says what another one says, on given prompts and titles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np

from flanrec.errors import CheckpointError
from flanrec.generation.engines.base import Floats, Rows
from flanrec.metrics import top_k


class ScoresTitles(Protocol):
    """The part of an engine that is compared."""

    name: str

    def title_log_probabilities(self, prompts: Sequence[str], token_rows: Rows) -> Floats:
        """The log-probability of every title for every prompt."""
        ...


@dataclass(frozen=True)
class Tolerance:
    """What may differ.

    Attributes
    ----------
    difference : float
        Of a title's log-probability, relative, at the mean over all.
    overlap : float
        Least mean share of the best titles that both lists have.
    """

    difference: float
    overlap: float


TOLERANCES = {"float32": Tolerance(1e-4, 0.99), "int8": Tolerance(0.03, 0.7)}
"""By number format. Rounding to float32 may turn two titles of like probability round, no more."""


@dataclass(frozen=True)
class Parity:
    """How far two engines agree.

    Attributes
    ----------
    prompts, titles, k : int
        What was compared.
    mean_difference, largest_difference : float
        Of log-probabilities, relative to those of the first engine.
    overlap : float
        Mean share of the ``k`` best titles that both lists have.
    """

    prompts: int
    titles: int
    k: int
    mean_difference: float
    largest_difference: float
    overlap: float

    def to_dict(self) -> dict[str, float]:
        """For records."""
        return asdict(self)

    def require(self, tolerance: Tolerance, name: str) -> None:
        """Refuse an engine that differs too much.

        Raises
        ------
        CheckpointError
            The message has the figures.
        """
        if self.mean_difference > tolerance.difference or self.overlap < tolerance.overlap:
            raise CheckpointError(
                f"{name} does not say what the model says: log-probabilities differ by {self.mean_difference:.2%} on "
                f"average (at most {tolerance.difference:.2%} may be), and {self.overlap:.0%} of the {self.k} best "
                f"titles are the same (at least {tolerance.overlap:.0%} must be). Nothing was written."
            )


@dataclass(frozen=True)
class Gate:
    """What lets an engine pass that says what another one says.

    Attributes
    ----------
    first : an engine
        The truth.
    prompts, token_rows
        On what both are compared.
    """

    first: ScoresTitles
    prompts: Sequence[str]
    token_rows: Rows

    def check(self, second: ScoresTitles, number_format: str) -> Parity:
        """Compare, with the tolerance of a number format.

        Raises
        ------
        CheckpointError
            They differ too much.
        """
        parity = compare_engines(self.first, second, self.prompts, self.token_rows)
        parity.require(TOLERANCES[number_format], second.name)
        return parity


def compare_engines(
    first: ScoresTitles, second: ScoresTitles, prompts: Sequence[str], token_rows: Rows, k: int = 10
) -> Parity:
    """Score titles of a catalogue for prompts with both.

    Parameters
    ----------
    first, second : Engine
        The first one is what the second is measured by.
    prompts : n texts
    token_rows : titles that end in the end token
    k : int
        Length of the lists compared.
    """
    expected, found = (engine.title_log_probabilities(prompts, token_rows) for engine in (first, second))
    differences = np.abs(found / expected - 1)
    lists, others = (top_k(scores, k).items for scores in (expected, found))
    shares = [len(set(one) & set(other)) / len(one) for one, other in zip(lists.tolist(), others.tolist(), strict=True)]
    return Parity(
        len(prompts), len(token_rows), k, float(differences.mean()), float(differences.max()), float(np.mean(shares))
    )
