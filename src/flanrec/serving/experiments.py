"""Two models compared on the people who are served: each gets one of them, or both in one list."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from flanrec.recommender.settings.base import Settings

Team = Literal["a", "b"]
MIXED = "interleaved:"
"""Before the teams of a list's places, in the arm of a list that both models made."""


class Experiment(Settings):
    """A comparison of two of the models that are served, by requests that name none."""

    kind: Literal["none", "split", "interleave"] = "none"
    """``split`` gives each user one of the models; ``interleave`` makes one list of those of both, which tells them
    apart with far fewer users (team draft; Radlinski, Kurup and Joachims 2008)."""
    models: tuple[str, ...] = ()
    """Names of the two."""
    share: float = Field(default=0.5, gt=0, lt=1)
    """Of the users who get the second one, in a split."""
    salt: str = ""
    """Another one deals users anew."""

    @model_validator(mode="after")
    def _of_two(self) -> Experiment:
        if self.kind != "none" and len(set(self.models)) != 2:
            raise ValueError(f"an experiment compares two models, not {', '.join(self.models) or 'none'}")
        return self

    def model_of(self, who: str) -> str:
        """The model that somebody always gets.

        >>> half = Experiment(kind="split", models=("old", "new"))
        >>> half.model_of("7") == half.model_of("7"), {half.model_of(str(user)) for user in range(20)} == {"old", "new"}
        (True, True)
        """
        dealt = hashlib.sha256(f"{self.salt}\0{who}".encode()).digest()
        return self.models[int.from_bytes(dealt[:8], "big") < self.share * 2**64]

    def dealt(self, who: str) -> tuple[str, ...]:
        """The models that make a list of somebody who names none; "" is the default one.

        >>> Experiment().dealt("7"), Experiment(kind="interleave", models=("old", "new")).dealt("7")
        (('',), ('old', 'new'))
        """
        if self.kind == "none":
            return ("",)
        return self.models if self.kind == "interleave" else (self.model_of(who),)


def team_draft(first: Sequence[str], second: Sequence[str], k: int, seed: str) -> list[tuple[str, Team]]:
    """One list of two: in each round both teams take their best item that is not taken yet, and a coin says who begins.

    Parameters
    ----------
    first, second
        Item ids, best first.
    k
        Most items.
    seed
        Decides the coins; of the same seed and lists comes the same list.

    Returns
    -------
    list of (item, team)

    Examples
    --------
    >>> [item for item, _ in team_draft(["x", "y"], ["x", "z"], 3, "seed")][0]
    'x'
    """
    coin = random.Random(seed)
    left: dict[Team, list[str]] = {"a": list(first), "b": list(second)}
    drafted: dict[str, Team] = {}
    while len(drafted) < k and any(left.values()):
        turns: list[Team] = ["a", "b"] if coin.random() < 0.5 else ["b", "a"]
        for team in turns:
            left[team] = [item for item in left[team] if item not in drafted]
            if left[team] and len(drafted) < k:
                drafted[left[team][0]] = team
    return list(drafted.items())
