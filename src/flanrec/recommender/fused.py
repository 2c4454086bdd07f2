"""The fused reading: closed-form sources and the item tokens in one ranking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch.nn import functional

from flanrec.catalogue import Catalogue
from flanrec.catalogue.facets import Facets
from flanrec.catalogue.item_tokens import ItemTokens
from flanrec.catalogue.people import Person, people
from flanrec.catalogue.reviews import ReviewReader, Reviews
from flanrec.catalogue.vectors import joined_vectors, unit
from flanrec.data import Dataset
from flanrec.data.profiles import attributes_of_users
from flanrec.ranking.behaviour import Behaviour, likeness
from flanrec.ranking.content import Content
from flanrec.ranking.features import Features
from flanrec.ranking.fusion import Fusion
from flanrec.ranking.pool import Pool
from flanrec.ranking.verdicts import LANGUAGE_MODEL
from flanrec.recommender.asking import NOTHING, Asking, each_asking
from flanrec.recommender.lists import Ints, closed_items, filled
from flanrec.recommender.readings import TokenReading

Floats = NDArray[np.float32]
MODEL = frozenset().union(*LANGUAGE_MODEL.values())
TOKENS = LANGUAGE_MODEL["item tokens"]
_TOGETHER = 64


class Gatherer:
    """Makes the pools of the fused reading: what every source says, the language model's part included.

    Parameters
    ----------
    behaviour
        The closed-form sources.
    features
        How many candidates each source names.
    tokens
        The item-token reading.
    content
        What items say of themselves.
    reviews
        What users wrote; None for nothing.
    heard
        The language model's sources that are fused, of `LANGUAGE_MODEL`; item tokens that are not are asked only where
        there is a wish.
    """

    def __init__(
        self,
        behaviour: Behaviour,
        features: Features,
        tokens: TokenReading,
        content: Content,
        reviews: Reviews | None,
        heard: frozenset[str],
    ) -> None:
        self.behaviour = behaviour
        self.features = features
        self.tokens = tokens
        self.content = content
        self.reviews = reviews
        self.heard = heard

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return self.tokens.tokens.n_items

    def pools(
        self,
        users: Sequence[Person],
        asking: Asking | Sequence[Asking] = NOTHING,
        *,
        fewest: int = 1,
        excluded: Sequence[Ints] | None = None,
        allowed: NDArray[np.bool_] | None = None,
        everything: bool = False,
    ) -> Iterator[tuple[slice, Pool, Floats]]:
        """Yield slices of the users with their pool, and what the words change of its scores.

        Parameters
        ----------
        fewest
            Candidates a user at least, where so many items are open.
        excluded, allowed
            As `closed_items` takes them.
        everything
            Take all items as candidates, excluded ones with the last rank.

        Yields
        ------
        part
            Rows of the users.
        pool
            With them as users 0, 1, ...
        change
            float32 [n_pairs], the log ratio of the item-token probabilities with and without a wish or an aversion;
            zeros where nothing is said.
        """
        asked = each_asking(asking, len(users))
        for first in range(0, len(users), _TOGETHER):
            part = slice(first, min(first + _TOGETHER, len(users)))
            shape = (part.stop - part.start, self.n_items)
            closed = closed_items(shape, excluded and excluded[part], allowed)
            yield part, *self._pool(users[part], asked[part], closed, fewest, everything)

    def _pool(
        self, users: Sequence[Person], asked: Sequence[Asking], closed: NDArray[np.bool_], fewest: int,
        everything: bool,
    ) -> tuple[Pool, Floats]:  # fmt: skip
        worded = any(said.worded for said in asked)
        histories = [user.items for user in users]
        scores: dict[str, Floats] = {}
        if "text" in self.heard:
            scores["text"] = likeness(self.content.texts, histories)
        if "nearest" in self.heard:
            scores["nearest"] = self.content.nearest(histories)
        if "written" in self.heard and self.reviews is not None:
            scores["written"] = self.reviews.scores(users)
        also: list[Floats] = []
        change = np.zeros(closed.shape, dtype=np.float32)
        if "tokens" in self.heard or worded:
            # Both at once, so that few users are read no slower than many.
            plain, said = self.tokens.both(users, asked) if worded else (self.tokens.scores(users, asked), None)
            if "tokens" in self.heard:
                scores["tokens"] = plain
            if said is not None:
                change = said - plain
                also = [said, change]
        pool = replace(self.features, depth=max(self.features.depth, fewest)).pool(
            self.behaviour,
            users,
            closed,
            given=scores,
            also=also,
            everything=everything,
        )
        return pool, change[pool.users, pool.items]


class FusedReading:
    """Ranks by the fusion; a wish moves the list by what the item tokens make of it.

    Where words are said, an item's score changes by the log ratio of its item-token probabilities with and
    without them: the history speaks through all sources, the words through the language model.
    """

    def __init__(self, gatherer: Gatherer, fusion: Fusion) -> None:
        self.gatherer = gatherer
        self.fusion = fusion

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
        pools = self.gatherer.pools(users, asking, fewest=k, excluded=excluded, allowed=allowed)
        return filled(
            (len(users), k),
            ((part, *pool.best(self.fusion.scores(pool) + change, k)) for part, pool, change in pools),
        )

    def scores(self, users: Sequence[Person], asking: Asking | Sequence[Asking] = NOTHING) -> Floats:
        """The score of every item: float32 [n_users, n_items]; compare within a user only."""
        found = np.empty((len(users), self.gatherer.n_items), dtype=np.float32)
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
        seen = [np.unique(user.items) for user in users]
        return self.gatherer.pools(users, asking, excluded=seen, everything=True)


def behaviour_of(dataset: Dataset, catalogue: Catalogue, facets: Facets) -> Behaviour:
    """The closed-form sources, fitted on all events of a data set."""
    log = dataset.sequences()
    told = attributes_of_users(dataset, log.user_ids)
    return Behaviour.fit(log, [told.get(user, {}) for user in log.user_ids], facets.members, catalogue.years)


def content_of(tokens: ItemTokens, titles: Floats, catalogue: Catalogue, facets: Facets) -> Content:
    """What items say of themselves: their texts as the encoder reads them, categories and years.

    Parameters
    ----------
    titles
        float32 [n_items, d_model], of `title_states`.
    """
    known = titles[catalogue.popularity > 0]
    bare = unit(titles, known.mean(axis=0) if len(known) else np.float32(0))
    categories = facets.members[:, : facets.n_categories]
    return Content.of(joined_vectors(unit_texts(tokens), bare), categories, catalogue.years)


def reviews_of(dataset: Dataset, reader: ReviewReader) -> Reviews | None:
    """What users wrote of the events of a data set; None for nothing."""
    return None if dataset.reviews is None else Reviews.of(people(dataset), dataset.items.height, reader)


def unit_texts(tokens: ItemTokens) -> Floats:
    """What the encoder says of each item's text, as vectors of length one: float32 [n_items, d_model]."""
    found: Floats = functional.normalize(tokens.text_output, dim=1).float().cpu().numpy()
    return found
