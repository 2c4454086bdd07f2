"""The pool: the best candidates of every source together, each pair with what every source says of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flanrec.errors import DataError
from flanrec.metrics import top_k

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Pool:
    """Pairs of users and candidates, flat, ordered by user and then by item.

    Attributes
    ----------
    users
        int64 [n_pairs], rows of the users, ascending.
    items
        int64 [n_pairs], catalogue indices.
    features
        float32 [n_pairs, n_features], always finite.
    names
        Of the features.
    n_users
        How many users were asked; one may have no candidates.
    """

    users: Ints
    items: Ints
    features: Floats
    names: tuple[str, ...]
    n_users: int

    def __post_init__(self) -> None:
        if self.features.shape != (len(self.users), len(self.names)) or len(self.items) != len(self.users):
            raise DataError(
                f"a pool of {len(self.users)} users' rows and {len(self.items)} items has features of shape "
                f"{self.features.shape} under {len(self.names)} names"
            )

    @property
    def sizes(self) -> Ints:
        """Candidates of each user: int64 [n_users]."""
        return np.bincount(self.users, minlength=self.n_users).astype(np.int64)

    def column(self, name: str) -> Floats:
        """One feature of all pairs."""
        return self.features[:, self.names.index(name)]

    def of(self, chosen: NDArray[np.bool_]) -> Pool:
        """The pairs of some users, bool [n_users]; the others have no candidates."""
        kept = chosen[self.users]
        return Pool(self.users[kept], self.items[kept], self.features[kept], self.names, self.n_users)

    def without(self, sources: Collection[str], depth: int) -> Pool:
        """Without the features of some sources, and without the candidates that they alone named.

        Parameters
        ----------
        depth
            How many candidates each source named.
        """
        if not sources:
            return self
        names = tuple(name for name in self.names if source_of(name) not in sources)
        end = np.log1p(depth).astype(np.float32)
        ranks = [self.column(name) for name in names if name.endswith(".rank")]
        named = np.min(ranks, axis=0) < end if ranks else np.ones(len(self.users), dtype=bool)
        columns = [self.names.index(name) for name in names]
        return Pool(self.users[named], self.items[named], self.features[named][:, columns], names, self.n_users)

    def is_answer(self, answers: Ints) -> NDArray[np.bool_]:
        """Whether a pair is the answer of its user, int64 [n_users]: bool [n_pairs]."""
        return np.asarray(self.items == answers[self.users])

    def best(self, scores: Floats, k: int) -> tuple[Ints, Floats]:
        """Each user's best candidates by their scores, float32 [n_pairs]; equal ones by rising catalogue index.

        Returns
        -------
        items, scores
            int64 and float32 [n_users, k], -1 and -inf where there are no more candidates.
        """
        order = np.lexsort((self.items, -scores, self.users))
        sizes = self.sizes
        place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        kept, place = order[place < k], place[place < k]
        items = np.full((self.n_users, k), -1, dtype=np.int64)
        best = np.full((self.n_users, k), -np.inf, dtype=np.float32)
        items[self.users[kept], place] = self.items[kept]
        best[self.users[kept], place] = scores[kept]
        return items, best

    @classmethod
    def joined(cls, pools: Sequence[Pool]) -> Pool:
        """Pools of different users, with the same features, one after the other."""
        counts = [pool.n_users for pool in pools]
        users = [pool.users + before for pool, before in zip(pools, np.cumsum([0, *counts[:-1]]), strict=True)]
        return cls(
            np.concatenate(users),
            np.concatenate([pool.items for pool in pools]),
            np.concatenate([pool.features for pool in pools]),
            pools[0].names,
            sum(counts),
        )


def source_of(feature: str) -> str:
    """The source that a feature is of."""
    return feature.rpartition(".")[0]


def best_of_each(
    scores: Mapping[str, Floats],
    closed: NDArray[np.bool_],
    depth: int,
    also: Sequence[Floats] = (),
    everything: bool = False,
) -> tuple[Ints, Ints, dict[str, Floats]]:
    """The union of the `depth` best open items of every source.

    Parameters
    ----------
    scores
        By source: float32 [n_users, n_items].
    closed
        bool [n_users, n_items], items that may not come.
    also
        Further scores whose best open items are candidates too, without a rank.
    everything
        Take all items as candidates, closed ones with the last rank; ranks still end at `depth`.

    Returns
    -------
    users, items
        int64 [n_pairs], ordered by user and then by item.
    ranks
        By source: float32 [n_pairs], log(1 + rank from 0) of the item in the source's list, beyond its end
        that of the end.
    """
    n_users, n_items = closed.shape
    width = min(depth, n_items)
    chosen = np.full(closed.shape, everything)
    lists = {}
    for name, source in scores.items():
        best = top_k(source, width, closed).items if width else np.zeros((n_users, 0), dtype=np.int64)
        row, place = np.nonzero(best >= 0)
        chosen[row, best[row, place]] = True
        lists[name] = (row, best[row, place], place)
    for source in also:
        best = top_k(source, width, closed).items if width else np.zeros((n_users, 0), dtype=np.int64)
        row, place = np.nonzero(best >= 0)
        chosen[row, best[row, place]] = True
    users, items = np.nonzero(chosen)
    ranks = {}
    place_of = np.full(closed.shape, width, dtype=np.int32)
    for name, (row, item, place) in lists.items():
        place_of[row, item] = place
        ranks[name] = np.log1p(place_of[users, items]).astype(np.float32)
        place_of[row, item] = width
    return users.astype(np.int64), items.astype(np.int64), ranks
