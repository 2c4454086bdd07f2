"""The closed-form sources of a fusion, each with the scale on which it is heard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from flanrec.candidates import Covisits, Ease, Popularity, Source, Transitions, UserNeighbours
from flanrec.candidates.scales import log_smoothed, standardised
from flanrec.ranking.pool import Floats

_SMOOTHING = 0.1


@dataclass(frozen=True)
class Voice:
    """A closed-form source in a fusion.

    Attributes
    ----------
    source
        Its settings.
    scale
        ``standardised`` over a user's items; ``log_smoothed``, the log of a rate beside the items' shares; ``plain``
        where scores are logs of shares already.
    """

    source: Source
    scale: Literal["standardised", "log_smoothed", "plain"]

    def scaled(self, scores: Floats, log_shares: Floats) -> Floats:
        """Scores float32 [n_users, n_items] on the common scale, given the items' log shares."""
        if self.scale == "standardised":
            return standardised(scores)
        return log_smoothed(scores, log_shares, _SMOOTHING) if self.scale == "log_smoothed" else scores


VOICES: Mapping[str, Voice] = MappingProxyType(
    {
        "ease": Voice(Ease(decay=1.0), "standardised"),
        "transitions": Voice(Transitions(window=10), "log_smoothed"),
        "backward": Voice(Transitions(backward=True), "log_smoothed"),
        "covisits": Voice(Covisits(), "log_smoothed"),
        "alike": Voice(UserNeighbours(), "log_smoothed"),
        "popularity": Voice(Popularity(), "plain"),
    }
)
"""By the name under which a fusion and its users know them."""
