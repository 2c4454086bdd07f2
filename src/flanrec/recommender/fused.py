"""The fused reading: closed-form sources and the item tokens in one ranking."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.nn import functional

from flanrec.catalogue.item_tokens import ItemTokens
from flanrec.catalogue.people import Person
from flanrec.metrics import UserItems
from flanrec.ranking.boosting import Boosted, BoostingSettings
from flanrec.ranking.features import Behaviour, Features
from flanrec.ranking.fusion import LogLinear, ranked
from flanrec.ranking.pool import Pool
from flanrec.recommender.readings import NOTHING, Asking, Ints, TokenReading, each_asking

Floats = NDArray[np.float32]
_TOGETHER = 64
_FADING = 0.9

BASE = (
    "ease.score", "transitions.score", "near.score", "neighbours.score", "popularity.score", "recent7.score",
    "likeness.score", "years.score", "text.score", "tokens.score",
)  # fmt: skip
"""Features of the log-linear part, where a pool has them."""


@dataclass(frozen=True)
class Fusion:
    """What was learned of how to fuse.

    Attributes
    ----------
    base
        The log-linear part.
    trees
        Its corrections.
    """

    base: LogLinear
    trees: Boosted = field(default_factory=lambda: Boosted((), ""))

    @classmethod
    def fit(cls, pool: Pool, answers: Ints, boosting: BoostingSettings | None, seed: int) -> Fusion:
        """Learn from held-out events; with too few of them every source weighs as in the closed-form blend."""
        base = LogLinear.fit(pool, answers, [name for name in BASE if name in pool.names])
        if base is None:
            return cls.unlearned(pool.names)
        if boosting is None:
            return cls(base)
        return cls(base, Boosted.fit(pool, base.scores(pool), answers, boosting, seed))

    @classmethod
    def unlearned(cls, names: Sequence[str]) -> Fusion:
        """Weights for logs that are too small to learn any."""
        plain = {"ease.score": 0.36, "transitions.score": 0.9, "tokens.score": 0.3}
        kept = {name: weight for name, weight in plain.items() if name in names}
        return cls(LogLinear(tuple(kept), tuple(kept.values())))

    def scores(self, pool: Pool) -> Floats:
        """float32 [n_pairs]; compare within a user only."""
        return self.trees.scores(pool, self.base.scores(pool))

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "names": list(self.base.names),
            "weights": list(self.base.weights),
            "tree_features": list(self.trees.names),
            "trees": self.trees.text,
            "curve": {str(length): value for length, value in self.trees.curve.items()},
        }

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Fusion:
        """From `to_dict`."""
        curve = {int(length): float(value) for length, value in body["curve"].items()}
        trees = Boosted(tuple(body["tree_features"]), str(body["trees"]), curve)
        return cls(LogLinear(tuple(body["names"]), tuple(body["weights"])), trees)


class FusedReading:
    """Ranks by the fusion; a wish moves the list by what the item tokens make of it.

    Where words are said, an item's score changes by the log ratio of its item-token probabilities with and
    without them: the history speaks through all sources, the words through the language model.

    Parameters
    ----------
    tokens
        The item-token reading.
    texts
        Of `unit_texts`.
    spoken
        Whether the item tokens are one of the fused sources; else they are asked only where there is a wish.
    """

    def __init__(
        self,
        behaviour: Behaviour,
        fusion: Fusion,
        features: Features,
        tokens: TokenReading,
        texts: Floats,
        *,
        spoken: bool,
    ) -> None:
        self.behaviour = behaviour
        self.fusion = fusion
        self.features = features
        self.tokens = tokens
        self.texts = texts
        self.spoken = spoken

    def said_by_text(self, users: Sequence[Person], plain: Floats | None) -> dict[str, Floats]:
        """What comes from the language model: its item tokens where they are fused, and the likeness of texts."""
        told = {"text": np.stack([self.texts @ _profile(self.texts, user.items) for user in users])}
        return told if plain is None or not self.spoken else {**told, "tokens": plain}

    def top(
        self,
        users: Sequence[Person],
        k: int,
        asking: Asking | Sequence[Asking] = NOTHING,
        *,
        excluded: Sequence[Ints] | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> tuple[Ints, Floats]:
        """The `k` best items of each user, as `TokenReading.top` returns them."""
        items = np.full((len(users), k), -1, dtype=np.int64)
        scores = np.full((len(users), k), -np.inf, dtype=np.float32)
        asked = each_asking(asking, len(users))
        for first in range(0, len(users), _TOGETHER):
            part = slice(first, min(first + _TOGETHER, len(users)))
            closed = closed_items(
                users[part], self.tokens.tokens.n_items, None if excluded is None else excluded[part], allowed
            )
            items[part], scores[part] = ranked(*self._judged(users[part], k, asked[part], closed), k)
        return items, scores

    def scores(self, users: Sequence[Person], asking: Asking | Sequence[Asking] = NOTHING) -> Floats:
        """The score of every item: float32 [n_users, n_items]; compare within a user only."""
        found = np.empty((len(users), self.tokens.tokens.n_items), dtype=np.float32)
        for part, pool, change in self._everything(users, asking):
            found[part] = (self.fusion.scores(pool) + change).reshape(-1, found.shape[1])
        return found

    def contributions(
        self, users: Sequence[Person], items: Ints, asking: Asking | Sequence[Asking] = NOTHING
    ) -> dict[str, Floats]:
        """What every source adds to items' scores, against its mean over the catalogue for the same user.

        Parameters
        ----------
        items
            int64 [n_users, k], -1 for none.

        Returns
        -------
        dict
            By source: float32 [n_users, k], nan where there is no item. ``trees`` is their correction, ``words`` what
            a wish or an aversion changes. They add up to the score, up to a constant of each user.
        """
        base = self.fusion.base
        found: dict[str, Floats] = {}
        for part, pool, change in self._everything(users, asking):
            told = {name: weight * pool.column(name) for name, weight in zip(base.names, base.weights, strict=True)}
            told |= {"trees": self.fusion.scores(pool) - base.scores(pool), "words": change}
            listed = np.maximum(items[part], 0)
            for name, values in told.items():
                rows = values.reshape(len(listed), -1)
                rows = np.take_along_axis(rows - rows.mean(axis=1, keepdims=True), listed, axis=1)
                column = found.setdefault(name.removesuffix(".score"), np.full(items.shape, np.nan, dtype=np.float32))
                column[part] = np.where(items[part] >= 0, rows, np.nan)
        return found

    def _everything(
        self, users: Sequence[Person], asking: Asking | Sequence[Asking]
    ) -> Iterator[tuple[slice, Pool, Floats]]:
        """Slices of the users with all items as candidates, and what the words change of their scores."""
        asked = each_asking(asking, len(users))
        for first in range(0, len(users), _TOGETHER):
            part = slice(first, min(first + _TOGETHER, len(users)))
            seen = [np.unique(user.items) for user in users[part]]
            closed = closed_items(users[part], self.tokens.tokens.n_items, seen, None)
            yield part, *self._asked(users[part], 1, asked[part], closed, everything=True)

    def _judged(
        self, users: Sequence[Person], k: int, asked: Sequence[Asking], closed: NDArray[np.bool_]
    ) -> tuple[Pool, Floats]:
        """Candidates, at least `k` a user where there are so many, and their scores."""
        pool, change = self._asked(users, k, asked, closed)
        return pool, self.fusion.scores(pool) + change

    def _asked(
        self, users: Sequence[Person], k: int, asked: Sequence[Asking], closed: NDArray[np.bool_], *,
        everything: bool = False,
    ) -> tuple[Pool, Floats]:  # fmt: skip
        """Candidates with their features, and what the words change of their scores."""
        worded = any(said.wish != "" or said.avoid != "" for said in asked)
        plain = self.tokens.scores(users) if self.spoken or worded else None
        given = self.said_by_text(users, plain)
        histories, moments = [user.items for user in users], [user.moment for user in users]
        features = replace(self.features, depth=max(self.features.depth, k))
        if plain is None or not worded:
            pool = features.pool(self.behaviour, histories, moments, closed, given, everything=everything)
            return pool, np.zeros(len(pool.users), dtype=np.float32)
        said = self.tokens.scores(users, asked)
        also = [said, said - plain]
        pool = features.pool(self.behaviour, histories, moments, closed, given, also=also, everything=everything)
        return pool, (said - plain)[pool.users, pool.items]


def unit_texts(tokens: ItemTokens) -> Floats:
    """What the encoder says of each item's text, as vectors of length one: float32 [n_items, d_model]."""
    found: Floats = functional.normalize(tokens.text_output, dim=1).float().cpu().numpy()
    return found


def _profile(vectors: Floats, history: Ints) -> Floats:
    """The mean vector of a history, newer events weighing more."""
    if not len(history):
        return np.zeros(vectors.shape[1], dtype=np.float32)
    weights = _FADING ** np.arange(len(history) - 1, -1, -1)
    return np.asarray(weights @ vectors[history] / weights.sum(), dtype=np.float32)


def closed_items(
    users: Sequence[Person],
    n_items: int,
    excluded: Sequence[Ints] | None,
    allowed: NDArray[np.bool_] | None,
) -> NDArray[np.bool_]:
    """Which items may not come: bool [n_users, n_items]."""
    closed = np.zeros((len(users), n_items), dtype=bool)
    if allowed is not None:
        closed[:, ~allowed] = True
    for row, items in enumerate(excluded or ()):
        closed[row, items] = True
    return closed


def first_answers(answers: UserItems) -> Ints:
    """The first answer of each user: int64 [n_users], -1 for none."""
    starts, ends = answers.offsets[:-1], answers.offsets[1:]
    found = np.full(len(starts), -1, dtype=np.int64)
    found[ends > starts] = answers.items[starts[ends > starts]]
    return found
