"""Lists under a policy: candidates deeper than the lists, re-ranked by rules about the recommender's items."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.people import Person
from flanrec.metrics import UserItems
from flanrec.ranking.facts import ItemFacts
from flanrec.ranking.plan import Reranked
from flanrec.ranking.policy import Policy

logger = logging.getLogger(__name__)

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Ranked = tuple[Ints, Floats]
"""Items int64 and scores float32 [n_users, width], best first, -1 and -inf where there are no more."""

_LEAST, _TIMES, _SPELLED_TIMES = 100, 10, 3


def depth(k: int, reading: str) -> int:
    """How many candidates a user has for lists of k under a policy.

    Generation has fewer, because it spells each of them.

    >>> depth(5, "fused"), depth(20, "item_tokens"), depth(10, "generate")
    (100, 200, 30)
    """
    return _SPELLED_TIMES * k if reading == "generate" else max(_LEAST, _TIMES * k)


def usable_policy(policy: Policy | str | Path, facts: ItemFacts) -> Policy:
    """Return the policy, or that of a TOML file, of which the catalogue knows every name but those of items.

    Raises
    ------
    SettingsError
        The file cannot be read, a key or a value cannot work, or a category, a column or an age is unknown.
    """
    if isinstance(policy, Policy):
        policy.check(facts)
        return policy
    loaded = Policy.load(policy)
    loaded.check(facts, str(policy))
    return loaded


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a reading would recommend to some people, deep enough for several policies to choose from.

    Attributes
    ----------
    ranked
        As `depth` says.
    facts
        Of the items.
    k
        Length of the lists.
    seen
        Whether items of the histories may come again.
    allowed
        bool [n_items], items that may come; None for all.
    again
        Ranks anew for some of the people, int64 rows, among some items, bool [n_items].
    """

    persons: Sequence[Person]
    ranked: Ranked
    facts: ItemFacts
    k: int
    seen: bool
    allowed: NDArray[np.bool_] | None
    again: Callable[[Ints, NDArray[np.bool_]], Ranked]

    def plain(self) -> Ints:
        """The lists without a policy: int64 [n_users, k]."""
        return self.ranked[0][:, : self.k]

    def reranked(self, policy: Policy, reasons: bool = True) -> Reranked:
        """The lists under a policy.

        Where it blocks more than half of somebody's candidates, they are found anew among what is not blocked.
        (Generation scores titles among those that may come, so there the reasons can pass over what was blocked.)
        Pins obey what may come, as other items do.

        Parameters
        ----------
        reasons
            As `Policy.apply` takes it.

        Raises
        ------
        SettingsError
            As `Policy.apply`.
        """
        items, scores = self._open(policy)
        histories = UserItems.from_lists([person.items.tolist() for person in self.persons])
        return policy.apply(items, scores, self.facts, histories, self.k, reasons, seen=self.seen, allowed=self.allowed)

    def _open(self, policy: Policy) -> Ranked:
        """The candidates, and where too many are blocked the blocked ones beside others that are not."""
        items, scores = self.ranked
        blocked = policy.blocked(self.facts)
        out = blocked[np.maximum(items, 0)] & (items >= 0)
        rows = np.flatnonzero(2 * out.sum(axis=1) > (items >= 0).sum(axis=1))
        if not len(rows):
            return items, scores
        found, values = self.again(rows, ~blocked if self.allowed is None else self.allowed & ~blocked)
        wide = np.full((len(items), items.shape[1] + found.shape[1]), -1, dtype=np.int64)
        deep = np.full(wide.shape, -np.inf, dtype=np.float32)
        wide[:, : items.shape[1]], deep[:, : items.shape[1]] = items, scores
        # Those that are not blocked are found again; the blocked ones stay, so that it is told what became of them.
        wide[rows, : items.shape[1]] = np.where(out[rows], items[rows], -1)
        wide[rows, items.shape[1] :], deep[rows, items.shape[1] :] = found, values
        return wide, deep


def told(lists: Reranked) -> Ranked:
    """The lists as readings return them; what the policy could not do goes to the log."""
    for note in lists.notes:
        logger.warning("policy, %s", note)
    return lists.items, lists.scores.astype(np.float32)
