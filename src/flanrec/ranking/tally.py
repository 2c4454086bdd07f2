"""What a policy did to many lists, added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from flanrec.ranking.plan import Note, Reranked

_COUNTS = ("lists", "came_in", "went_out", "moved")


class Tally:
    """Adds up what each rule moved and could not do, over parts of the users.

    Parameters
    ----------
    rules
        Of the policy, in their order; those that move nothing are counted too.

    Examples
    --------
    >>> from flanrec.ranking.facts import ItemFacts
    >>> from flanrec.ranking.policy import Policy
    >>> facts = ItemFacts(["a", "b", "c"], np.array([5, 3, 1]), {"category": [("Drama",), ("War",), ("Drama",)]})
    >>> policy = Policy.parse({"block": {"categories": ["War"]}})
    >>> tally = Tally(policy.active)
    >>> tally.add(policy.apply(np.array([[0, 1, 2]]), np.array([[0.9, 0.8, 0.1]]), facts, k=2))
    >>> tally.table().rows()
    [('block', 1, 1, 1, 0)]
    """

    def __init__(self, rules: Sequence[str]) -> None:
        self._counts = {rule: np.zeros(len(_COUNTS), dtype=np.int64) for rule in rules}
        self._notes: dict[tuple[str, str], list[Any]] = {}
        self.n_users = 0

    def add(self, lists: Reranked) -> None:
        """Take in the lists of further users, made with reasons."""
        for (rule,), rows in lists.reasons.group_by("rule"):
            before, after = rows["rank_before"].is_not_null(), rows["rank_after"].is_not_null()
            counts = rows["user"].n_unique(), (~before).sum(), (~after).sum(), (before & after).sum()
            self._counts[str(rule)] += np.array(counts, dtype=np.int64)
        for note in lists.notes:
            self._notes.setdefault((note.rule, note.text), []).append(note.users + self.n_users)
        self.n_users += len(lists.items)

    def table(self) -> pl.DataFrame:
        """Return by rule how many lists it changed, and how many items came in, went out and changed their rank."""
        columns = np.array(list(self._counts.values()), dtype=np.int64).reshape(-1, len(_COUNTS)).T
        return pl.DataFrame(
            {"rule": pl.Series(list(self._counts), dtype=pl.String)} | dict(zip(_COUNTS, columns, strict=True))
        )

    @property
    def notes(self) -> list[Note]:
        """What rules could not do, each said once."""
        return [Note(rule, text, np.concatenate(users)) for (rule, text), users in self._notes.items()]
