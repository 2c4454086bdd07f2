"""Whether held-out events confirm a group of sources; where they do not, the ranking does without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from flanrec.ranking.lessons import Lessons
from flanrec.ranking.pool import Pool, source_of

LANGUAGE_MODEL: Mapping[str, frozenset[str]] = MappingProxyType(
    {"texts": frozenset({"text", "nearest"}), "reviews": frozenset({"written"}), "item tokens": frozenset({"tokens"})}
)
"""What the language model tells: sources by group, in the order in which they are judged."""


@dataclass(frozen=True)
class Verdict:
    """What a group of sources adds on held-out events.

    Attributes
    ----------
    group
        Its name.
    events
        How many events had a say.
    gain, error
        The mean over them of what the group adds to NDCG@10, and the standard error of that mean, taking the events to
        be independent. No event is ranked by weights that it had a part in.
    """

    group: str
    events: int
    gain: float
    error: float

    @property
    def kept(self) -> bool:
        """Whether it adds more than the standard error: where two rankings cannot be told apart the simpler one is
        taken (Breiman, Friedman, Olshen and Stone, "Classification and regression trees", 1984).
        """
        return self.gain > self.error

    def to_text(self) -> str:
        """As one clause."""
        return (
            f"{self.group} {'heard' if self.kept else 'left out'}: over {self.events:,} held-out events they add "
            f"{self.gain:+.4f} to NDCG@10, standard error {self.error:.4f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values, with the decision."""
        return {**asdict(self), "kept": self.kept}


def judged(
    lessons: Lessons, groups: Mapping[str, frozenset[str]] = LANGUAGE_MODEL
) -> tuple[Lessons, tuple[Verdict, ...]]:
    """Take groups of sources in one after the other, and keep those that held-out events confirm.

    Earlier events have a say on the groups that were asked about them.

    Parameters
    ----------
    groups
        Sources by the name of their group; each is judged beside those that were kept before it.

    Returns
    -------
    lessons
        Without the groups that are not confirmed; as they are where too few users answered to judge anything.
    verdicts
        On every group that the pool has.
    """
    present = _sources(lessons.pool)
    asked = {group: sources & present for group, sources in groups.items() if sources & present}
    out = frozenset().union(*asked.values())
    kept = lessons.without(out)
    reached = kept.reached() if asked else None
    verdicts = []
    for group, sources in asked.items():
        with_group = lessons.without(out - sources)
        told = with_group.reached()
        if reached is None or told is None:
            return lessons, ()
        change = told[0] - reached[0]
        asked_earlier = lessons.earlier is not None and sources <= _sources(lessons.earlier[0])
        if asked_earlier and len(told[1]) == len(reached[1]):
            change = np.concatenate([change, told[1] - reached[1]])
        verdicts.append(Verdict(group, len(change), float(change.mean()), float(change.std() / np.sqrt(len(change)))))
        if verdicts[-1].kept:
            out, kept, reached = out - sources, with_group, told
    return kept, tuple(verdicts)


def _sources(pool: Pool) -> frozenset[str]:
    return frozenset(map(source_of, pool.names))
