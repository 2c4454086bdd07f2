"""The gate: an update is taken only if held-out events do not speak against it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flanrec.metrics import paired_bootstrap
from flanrec.recommender.updating.asking import Asked
from flanrec.recommender.updating.settings import Gate

_FEWEST = 10
"""With fewer events nothing is refused."""


@dataclass(frozen=True)
class Check:
    """The updated model beside the old one, in one reading, on events that the update does not learn.

    Attributes
    ----------
    reading
        How both were asked.
    events
        ``new`` or ``old``.
    count
        How many.
    before, after
        NDCG@10 of the old and of the updated model.
    low, high
        Paired bootstrap interval of the difference, after less before.
    allowed
        Most that may be lost.
    """

    reading: str
    events: str
    count: int
    before: float
    after: float
    low: float
    high: float
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether no more is lost than may be, or not surely.

        A loss whose interval has zero in it may be chance, and so may any among a handful of events, whose interval is
        too narrow.
        """
        return self.after - self.before >= -self.allowed or self.high >= 0 or self.count < _FEWEST

    def to_text(self) -> str:
        """As one clause."""
        return (
            f"{self.reading} on {self.count:,} {self.events} events: NDCG@10 {self.before:.4f} before, "
            f"{self.after:.4f} after (difference {self.low:+.4f} to {self.high:+.4f})"
            + ("" if self.passed else ", which is refused")
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values, with the decision."""
        return {**asdict(self), "passed": self.passed}


def checks(old: Asked, updated: Asked, gate: Gate, *, spelled: bool) -> list[Check]:
    """Compare what both models said of the held-out events.

    On new events nothing may be lost, on old ones the share of ``gate.tolerance``. Item tokens that were refitted on
    all events know the old ones by heart, which no update can keep up with: these are not compared.

    Parameters
    ----------
    spelled
        Whether titles are spelled too.
    """
    held = old.held
    found = []
    for events, tolerance in (("new", 0.0), ("old", gate.tolerance)):
        rows = np.flatnonzero(held.new == (events == "new"))
        reached = {"fused": (old.fused[rows], updated.fused[rows])}
        by_heart = events == "old" and old.model.settings.tokens.refit
        if old.tokens is not None and updated.tokens is not None and not by_heart:
            reached["item_tokens"] = (old.tokens[rows], updated.tokens[rows])
        if spelled:
            some = held.some(new=events == "new", most=gate.generation_users)
            reached["generate"] = (old.spelled(some), updated.spelled(some))
        found += [_check(reading, events, *values, tolerance, gate.level) for reading, values in reached.items()]
    return [check for check in found if check.count]


def _check(
    reading: str, events: str, before: NDArray[np.float64], after: NDArray[np.float64], tolerance: float, level: float
) -> Check:
    difference = paired_bootstrap(after, before, level=level)
    mean = float(before.mean()) if len(before) else float("nan")
    low, high = difference.low, difference.high
    return Check(reading, events, len(before), mean, mean + difference.value, low, high, tolerance * mean)
