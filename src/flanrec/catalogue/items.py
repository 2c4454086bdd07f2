"""The catalogue: every item with the wording that prompts show and decoding spells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flanrec.catalogue.trie import TitleTrie
from flanrec.data.dataset import Dataset
from flanrec.errors import DataError, NotFoundError
from flanrec.instructions.text import sanitise

MAX_TITLE_TOKENS = 48


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The items in catalogue order; item ``i`` of every array and list here is the same item.

    Attributes
    ----------
    item_ids : list
        As they came in.
    titles : list of str
        Free of control tokens and cut at a word to at most ``max_title_tokens`` tokens; never empty.
        An item without a title is named by the first words of its text, or else by its id.
    texts : list of str
        The longer text, free of control tokens; "" for none.
    categories : list of tuple of str
    years : list of int or None
    popularity : int64[n_items]
        Interactions with the item; zero for an item that none touched.
    token_rows : list of list of int
        The tokens of the titles, each row ended by ``eos``. Titles may share a row.
    eos : int
    """

    item_ids: list[Any]
    titles: list[str]
    texts: list[str]
    categories: list[tuple[str, ...]]
    years: list[int | None]
    popularity: NDArray[np.int64]
    token_rows: list[list[int]]
    eos: int

    @classmethod
    def from_dataset(cls, dataset: Dataset, tokenizer: Any, max_title_tokens: int = MAX_TITLE_TOKENS) -> Catalogue:
        """Read the items of a dataset; popularity counts its interactions only.

        Parameters
        ----------
        dataset : Dataset
            Of the training part, where popularity must not know the held-out events.
        tokenizer : of a Backbone
        max_title_tokens : int
            The longest title, without the end-of-sequence token.
        """
        return cls.from_frame(dataset.items, tokenizer, dataset.interactions, max_title_tokens)

    @classmethod
    def from_frame(
        cls,
        items: pl.DataFrame,
        tokenizer: Any,
        interactions: pl.DataFrame | None = None,
        max_title_tokens: int = MAX_TITLE_TOKENS,
    ) -> Catalogue:
        """Read an item table: ``item_id, title`` and, where given, ``text``, ``category`` and ``year``.

        Raises
        ------
        DataError
            If an item id occurs twice or ``max_title_tokens`` is below 1.
        """
        if max_title_tokens < 1:
            raise DataError(f"max_title_tokens is {max_title_tokens}: a title needs at least one token")
        ids = items["item_id"].to_list()
        if len(set(ids)) != len(ids):
            twice = items.filter(pl.col("item_id").is_duplicated())["item_id"][0]
            raise DataError(f"item {twice!r} occurs more than once in the items; keep one row an item")
        texts = [sanitise(text or "") for text in _column(items, "text")]
        wordings = [
            sanitise(title or "") or " ".join(text.split()[:12]) or sanitise(f"item {item_id}")
            for item_id, title, text in zip(ids, _column(items, "title"), texts, strict=True)
        ]
        titles, rows = _fit(wordings, tokenizer, max_title_tokens)
        return cls(
            item_ids=ids,
            titles=titles,
            texts=texts,
            categories=[tuple(map(sanitise, names or ())) for names in _column(items, "category")],
            years=_column(items, "year"),
            popularity=_popularity(ids, interactions),
            token_rows=rows,
            eos=int(tokenizer.eos_token_id),
        )

    def __len__(self) -> int:
        return len(self.item_ids)

    @cached_property
    def _index(self) -> dict[Any, int]:
        return {item_id: index for index, item_id in enumerate(self.item_ids)}

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._index

    def index_of(self, item_id: Any) -> int:
        """The catalogue index of an item id.

        Raises
        ------
        NotFoundError
            If no item has this id.
        """
        try:
            return self._index[item_id]
        except KeyError:
            kind = type(self.item_ids[0]).__name__ if self.item_ids else "none"
            raise NotFoundError(
                f"item {item_id!r} is not in the catalogue of {len(self)} items, whose ids are of type {kind}"
            ) from None

    def indices_of(self, item_ids: Iterable[Any]) -> NDArray[np.int64]:
        """The catalogue indices of several ids; an unknown one raises :class:`NotFoundError`."""
        return np.fromiter((self.index_of(item_id) for item_id in item_ids), dtype=np.int64)

    @cached_property
    def weights(self) -> NDArray[np.float64]:
        """Events of each item and one more: float64[n_items]."""
        return (self.popularity + 1).astype(np.float64)

    @cached_property
    def trie(self) -> TitleTrie:
        """The tree of all titles, an item weighing its events and one more."""
        return TitleTrie.build(self.token_rows, eos=self.eos, weights=self.weights)

    def extended(self, items: pl.DataFrame, tokenizer: Any, max_title_tokens: int = MAX_TITLE_TOKENS) -> Catalogue:
        """A new catalogue with further items behind the present ones, known by their text alone.

        Raises
        ------
        DataError
            If an id is in the catalogue already or occurs twice.
        """
        known = [item_id for item_id in items["item_id"].to_list() if item_id in self]
        if known:
            raise DataError(f"{len(known)} of the new items are in the catalogue already, such as {known[0]!r}")
        return self.with_items(items, tokenizer, max_title_tokens)

    def with_items(self, items: pl.DataFrame, tokenizer: Any, max_title_tokens: int = MAX_TITLE_TOKENS) -> Catalogue:
        """A new catalogue with further items behind the present ones, and known ones worded as they are here.

        Events are counted as before: an item keeps its popularity, a new one has none.
        """
        given = Catalogue.from_frame(items, tokenizer, None, max_title_tokens)
        new = [row for row, item_id in enumerate(given.item_ids) if item_id not in self]
        known = [(self._index[item_id], row) for row, item_id in enumerate(given.item_ids) if item_id in self]

        def merged(before: list[Any], after: list[Any]) -> list[Any]:
            found = [*before, *(after[row] for row in new)]
            for place, row in known:
                found[place] = after[row]
            return found

        return Catalogue(
            item_ids=merged(self.item_ids, given.item_ids),
            titles=merged(self.titles, given.titles),
            texts=merged(self.texts, given.texts),
            categories=merged(self.categories, given.categories),
            years=merged(self.years, given.years),
            popularity=np.concatenate([self.popularity, np.zeros(len(new), dtype=np.int64)]),
            token_rows=merged(self.token_rows, given.token_rows),
            eos=self.eos,
        )


def _column(items: pl.DataFrame, name: str) -> list[Any]:
    return items[name].to_list() if name in items.columns else [None] * len(items)


def _fit(wordings: Sequence[str], tokenizer: Any, limit: int) -> tuple[list[str], list[list[int]]]:
    """Titles of at most ``limit`` tokens, cut at a word, and their rows; only a single longer word is cut inside."""
    titles, rows = [], []
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    eos = int(tokenizer.eos_token_id)
    encoded = tokenizer(list(wordings), add_special_tokens=False)["input_ids"] if wordings else []
    for wording, whole in zip(wordings, encoded, strict=True):
        title, row = wording, whole
        while len(row) > limit and " " in title:
            words = title.split()
            title = " ".join(words[: max(1, min(len(words) - 1, len(words) * limit // len(row) + 1))])
            row = tokenizer(title, add_special_tokens=False)["input_ids"]
        if len(row) > limit:
            row = row[:limit]
            title = tokenizer.decode(row) or title
        # A control token that the cleaning did not know must not end or pad a row.
        row = [int(token) for token in row if token not in special] or [int(tokenizer.unk_token_id)]
        titles.append(title)
        rows.append([*row, eos])
    return titles, rows


def _popularity(ids: list[Any], interactions: pl.DataFrame | None) -> NDArray[np.int64]:
    counts: dict[Any, int] = {}
    if interactions is not None:
        counts = dict(interactions.group_by("item_id").len().iter_rows())
    return np.array([counts.get(item_id, 0) for item_id in ids], dtype=np.int64)
