"""A fitted recommender asked by ids and answering in tables; `Recommender` adds learning and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flanrec.catalogue.people import Person
from flanrec.explanation import Explanation, explain
from flanrec.ranking.policy import Policy
from flanrec.recommender import requests
from flanrec.recommender.answering import Answering, Reading
from flanrec.recommender.asking import NOTHING, Asking
from flanrec.recommender.new_items import rank_among, with_new_items
from flanrec.recommender.tables import recommendations, refuse_text


class Replying(Answering):
    """The questions of `Recommender`: who gets what, who likes what, and why."""

    def recommend(
        self,
        users: Sequence[Any] | None = None,
        k: int = 10,
        *,
        history: Iterable[Any] | None = None,
        attributes: dict[str, str] | None = None,
        wish: str = "",
        avoid: str = "",
        reading: Reading = "fused",
        seen: bool = False,
        only: Iterable[Any] | None = None,
        without: Iterable[Any] = (),
        policy: Policy | str | Path | None = None,
        sources: bool = False,
    ) -> pl.DataFrame:
        """Recommend items.

        Parameters
        ----------
        users
            User ids. One that the recommender does not know, or that has no events, gets what it would
            recommend to somebody about whom nothing is known; a warning counts them.
        k
            Items a user; fewer come where fewer may be recommended.
        history, attributes
            Instead of users: one user who is not stored, known by item ids or titles.
        wish, avoid
            What is wanted, or not wanted, in plain words.
        reading
            ``fused`` (all sources in one ranking), ``item_tokens`` (the language model alone) or ``generate``
            (spelled title by title). Where only items without any event may come, ``fused`` ranks them as `rank_new`.
        seen
            Whether items of the history may come again.
        only, without
            Item ids that alone may come, or may not come.
        policy
            Rules that re-rank the lists, or the TOML file that has them. What they cannot do is logged as a warning.
        sources
            Add ``basis``, what the list rests on first, and what every source gave each item, in columns such as
            ``from_ease``; for ``fused`` only. They add up to the score, up to a constant of each user; to that before
            a policy, and not where only items without events may come.

        Returns
        -------
        polars.DataFrame
            user_id, item_id, score, rank from 1; best first for each user. The score is a log-probability of
            coming next, for ``fused`` one up to a constant of each user. With `history` the user_id is null.
            Under a policy the rank counts: scores have its factors and freshness in them, and need not fall.

        Raises
        ------
        SettingsError
            k is below 1, neither or both of users and history are given, sources of another reading are asked, or
            the policy cannot be read or names a category that is unknown.
        NotFoundError
            An item of history, only or without is unknown.
        """
        requests.check_sources(reading, sources)
        ids, persons = requests.all_of(self.parts, users, history, attributes)
        asking = Asking(wish, avoid)
        items, scores = self.rank(
            persons, k, asking, reading=reading, seen=seen, only=only, without=without, policy=policy
        )
        table = recommendations(ids, items, scores, self.parts.dataset, self.parts.catalogue.item_ids)
        return table.with_columns(self.source_columns(persons, items, asking)) if sources else table

    def match(self, pairs: pl.DataFrame, progress: Callable[[int], None] | None = None) -> pl.DataFrame:
        """How probable it is that users like items.

        Parameters
        ----------
        pairs
            Columns user_id and item_id.

        Returns
        -------
        polars.DataFrame
            The pairs with a column probability in [0, 1], rows in the same order.

        Raises
        ------
        NotFoundError
            An item is unknown. An unknown user has no history, and the probability is the item's.
        """
        users, items = requests.pairs_of(self.parts, pairs)
        chances = self.match_reading.probabilities(users, items, progress)
        return pairs.with_columns(pl.Series("probability", chances))

    def rank_new(
        self, new_items: pl.DataFrame, users: Sequence[Any], k: int = 10, *, wish: str = "", avoid: str = ""
    ) -> pl.DataFrame:
        """Rank items that training never saw, from their text alone.

        Parameters
        ----------
        new_items
            A table as `flanrec.data.load_items` gives it; items the recommender knows are passed over.

        Returns
        -------
        polars.DataFrame
            As `recommend`; only new items.

        Raises
        ------
        DataError
            No item is new, or the table lacks a column or has ids of another type.
        """
        requests.check_k(k)
        refuse_text(users=users)
        larger, new = with_new_items(self.parts, self.backbone, self.settings, new_items)
        items, scores = rank_among(larger, new, self.people(users), k, Asking(wish, avoid))
        return recommendations(list(users), items, scores, self.parts.dataset, larger.catalogue.item_ids)

    def explain(
        self,
        user: Any = None,
        item: Any = None,
        *,
        history: Iterable[Any] | None = None,
        attributes: dict[str, str] | None = None,
        wish: str = "",
    ) -> Explanation:
        """Say what speaks for an item.

        Parameters
        ----------
        user, history, attributes
            A stored user, or one known by a history, as in `recommend`.
        item
            Id or title.

        Raises
        ------
        SettingsError
            Neither or both of user and history are given.
        NotFoundError
            The item, or an entry of the history, is unknown.
        """
        person = requests.one_of(self.parts, user, history, attributes)
        return self.explain_person(person, [self.parts.find(item)], wish)[0]

    def explain_person(
        self, person: Person, items: Sequence[int], wish: str = "", closed: NDArray[np.int64] | None = None
    ) -> tuple[Explanation, ...]:
        """As `explain`, of several items by catalogue index for one person; each history is scored once for all.

        Parameters
        ----------
        closed
            Catalogue indices of items that may not be recommended, which therefore do not count in ranks.
        """
        parts, reading = self.parts, self.fused_reading
        scored: dict[tuple[int, str], NDArray[np.float32]] = {}

        def score(persons: Sequence[Person], said: str) -> NDArray[np.float32]:
            # The person as a whole comes alone, and without an event in turn as the same list for every item.
            key = (len(persons[0].items), said)
            if key not in scored:
                scored[key] = reading.scores(persons, Asking(said))
            return scored[key]

        return tuple(
            explain(
                person,
                item,
                score,
                parts.catalogue,
                parts.facets,
                favourite_categories=parts.prompter.profile(person).favourite_categories,
                wish=wish,
                closed=closed,
                prompt=self.token_reading.prompts([person], Asking(wish))[0],
                window=parts.tokens.settings.window,
            )
            for item in items
        )

    def instructions(self, person: Person, asking: Asking = NOTHING) -> dict[str, str]:
        """What the T5 reads of a person, word for word, by reading: ``item_tokens`` and ``generate``."""
        return {
            "item_tokens": self.token_reading.prompts([person], asking)[0],
            "generate": self.word_reading.prompts([person], asking)[0],
        }
