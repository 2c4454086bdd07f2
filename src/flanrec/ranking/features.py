"""Features of pairs: what each source says of a user and an item, and plain facts about both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.people import Person
from flanrec.ranking.behaviour import Behaviour
from flanrec.ranking.pool import Floats, Ints, Pool, best_of_each

_NEWEST = 3


@dataclass(frozen=True)
class Features:
    """How pools are made.

    Attributes
    ----------
    depth
        Candidates that each source names.
    naming
        Sources that name candidates; the others only score them.
    """

    depth: int = 100
    naming: tuple[str, ...] = ("ease", "transitions", "covisits", "alike", "recent", "tokens")

    def pool(
        self,
        behaviour: Behaviour,
        persons: Sequence[Person],
        closed: NDArray[np.bool_],
        *,
        given: Mapping[str, Floats] = MappingProxyType({}),
        also: Sequence[Floats] = (),
        everything: bool = False,
    ) -> Pool:
        """The candidates of several users with all features.

        Parameters
        ----------
        closed
            bool [n_users, n_items], items that may not come.
        given
            Scores of further sources, such as the language model's: float32 [n_users, n_items] by name.
        also
            Scores whose best open items are candidates too, and that are no feature.
        everything
            Take all items as candidates, closed ones with the last rank.
        """
        scores = behaviour.scores(persons) | dict(given)
        users, items, ranks = best_of_each(
            {name: scores[name] for name in self.naming if name in scores}, closed, self.depth, also, everything
        )
        columns: dict[str, Floats] = {f"{name}.score": found[users, items] for name, found in scores.items()}
        columns |= {f"{name}.rank": found for name, found in ranks.items()}
        columns |= _facts(behaviour, [person.items for person in persons], users, items)
        table = np.stack(list(columns.values()), axis=1).astype(np.float32)
        return Pool(users, items, np.nan_to_num(table), tuple(columns), len(persons))


def _facts(behaviour: Behaviour, histories: Sequence[Ints], users: Ints, items: Ints) -> dict[str, Floats]:
    """What tells users and items apart, and how near they are in kind."""
    groups, shares = behaviour.groups, behaviour.log_shares
    newest = [history[-_NEWEST:] for history in histories]
    liking = np.array([shares[part].mean() if len(part) else np.nan for part in (h[-10:] for h in histories)])
    near = np.stack([groups[part].mean(axis=0) if len(part) else np.zeros(groups.shape[1]) for part in newest])
    return {
        "user.events": np.log1p([len(history) for history in histories]).astype(np.float32)[users],
        "user.popularity": liking[users],
        "item.year": behaviour.years[items],
        "pair.popularity": shares[items] - liking[users],
        "pair.newest": np.einsum("pg,pg->p", groups[items], near[users]).astype(np.float32),
    }
