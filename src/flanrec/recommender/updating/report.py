"""How an update went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flanrec.data.arrivals import Arrivals
from flanrec.recommender.updating.gate import Check
from flanrec.recommender.updating.relearning import Choice
from flanrec.tuning import TrainingReport


@dataclass
class UpdateReport:
    """How an update went.

    Attributes
    ----------
    interactions, items, users, repeated
        How many arrived, and how many interactions were known already.
    changed
        Whether the recommender is another one than before.
    accepted
        Whether the updated model took the old one's place; where nothing was new, the old one stands accepted.
    checks
        Of the gate.
    choices
        Whether fusion and calibration were learnt again.
    stages
        The course of each stage of tuning.
    seconds
        By part of the work.
    """

    interactions: int = 0
    items: int = 0
    users: int = 0
    repeated: int = 0
    changed: bool = False
    accepted: bool = True
    checks: list[Check] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    stages: dict[str, TrainingReport] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Arrivals) -> UpdateReport:
        """Before anything is learnt."""
        return cls(found.interactions.height, found.items, found.users, found.repeated)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the seconds of a block to those of a part of the work."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.monotonic() - begun

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "accepted": self.accepted,
            "changed": self.changed,
            "interactions": self.interactions,
            "items": self.items,
            "users": self.users,
            "repeated": self.repeated,
            "checks": [check.to_dict() for check in self.checks],
            "choices": {choice.what: choice.to_dict() for choice in self.choices},
            "stages": {
                name: {"steps": report.steps, "last_loss": report.losses[-1] if report.losses else None}
                for name, report in self.stages.items()
            },
            "seconds": {part: round(seconds, 1) for part, seconds in self.seconds.items()},
        }
