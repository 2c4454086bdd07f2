"""The fitted parts of a recommender, put together once."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from flanrec.backbone import Backbone
from flanrec.backbone.prompts import PromptEncoder
from flanrec.catalogue import Catalogue
from flanrec.catalogue.facets import Facets
from flanrec.catalogue.int8_tokens import int8_reader
from flanrec.catalogue.item_graph import IndexSettings
from flanrec.catalogue.item_tokens import ItemTokens
from flanrec.catalogue.like_rates import LikeRates
from flanrec.catalogue.people import People, Person
from flanrec.catalogue.prompter import Prompter
from flanrec.catalogue.reviews import ReviewReader, Reviews
from flanrec.catalogue.vectors import title_states
from flanrec.data import Dataset
from flanrec.errors import NotFoundError
from flanrec.ranking.behaviour import Behaviour
from flanrec.ranking.content import Content, Newcomers
from flanrec.ranking.facts import ItemFacts
from flanrec.ranking.fusion import Fusion
from flanrec.recommender.calibration import Calibration
from flanrec.recommender.fused import behaviour_of, content_of, reviews_of, unit_texts
from flanrec.recommender.prompting import make_prompter
from flanrec.recommender.readings import TokenReading
from flanrec.recommender.settings import RecommenderSettings

_NUMBER = re.compile("-?[0-9]{1,18}")  # not whatever some script counts as a digit
_SAMPLE = 512
"""Users whose states say which directions of item vectors matter."""


@dataclass(frozen=True)
class Parts:
    """What fitting made, and what of the log recommending needs.

    Attributes
    ----------
    dataset
        All that is known: the histories to recommend from.
    tokens, calibration, fusion
        Of the item-token, the match and the fused reading.
    behaviour
        The closed-form sources, fitted on all that is known.
    titles
        float32 [n_items, d_model], of `title_states`.
    read_reviews
        What users wrote of the items, where the fusion listens to it; None for not read yet.
    searched
        How the item tokens search a large catalogue.
    saved_index
        Folder with the index of the item tokens, if one was saved with them.
    int8_tokens
        Have the item tokens read histories in int8, on a CPU.
    """

    dataset: Dataset
    catalogue: Catalogue
    prompter: Prompter
    facets: Facets
    rates: LikeRates
    tokens: ItemTokens
    calibration: Calibration
    fusion: Fusion
    behaviour: Behaviour
    encoder: PromptEncoder
    titles: NDArray[np.float32]
    read_reviews: Reviews | None
    searched: IndexSettings
    saved_index: Path | None
    int8_tokens: bool = False

    @classmethod
    def assemble(
        cls,
        backbone: Backbone,
        dataset: Dataset,
        tokens: ItemTokens,
        calibration: Calibration,
        fusion: Fusion,
        titles: NDArray[np.float32],
        reviews: Reviews | None,
        settings: RecommenderSettings,
        saved_index: Path | None = None,
        behaviour: Behaviour | None = None,
    ) -> Parts:
        """Put the parts together from what is fitted and the log.

        The closed-form sources are fitted on it, unless they are given.
        """
        catalogue = Catalogue.from_dataset(dataset, backbone.tokenizer)
        facets = Facets.of(catalogue)
        return cls(
            dataset=dataset,
            catalogue=catalogue,
            prompter=make_prompter(backbone, catalogue, settings),
            facets=facets,
            rates=LikeRates.of(dataset.sequences(), settings.liked_rating),
            tokens=tokens,
            calibration=calibration,
            fusion=fusion,
            behaviour=behaviour_of(dataset, catalogue, facets) if behaviour is None else behaviour,
            encoder=PromptEncoder(backbone),
            titles=titles,
            read_reviews=reviews,
            searched=settings.item_index,
            saved_index=saved_index,
        )

    @cached_property
    def token_reading(self) -> TokenReading:
        """The item-token reading."""
        with torch.inference_mode():
            outputs = self.tokens.outputs()
        return TokenReading(
            int8_reader(self.tokens) if self.int8_tokens else self.tokens,
            self.encoder,
            self.prompter,
            outputs=outputs,
            sample=self._some_people,
            searched=self.searched,
            saved_index=self.saved_index,
        )

    def _some_people(self) -> list[Person]:
        ids = self.people.log.user_ids
        return self.people.find(ids[:: max(1, len(ids) // _SAMPLE)][:_SAMPLE])

    @cached_property
    def people(self) -> People:
        """The users of the log."""
        return People.of(self.dataset)

    @cached_property
    def trained(self) -> set[Any]:
        """Ids of the items that have interactions."""
        return set(self.dataset.interactions["item_id"].unique().to_list())

    @cached_property
    def unit_texts(self) -> NDArray[np.float32]:
        """See `flanrec.recommender.fused.unit_texts`."""
        return unit_texts(self.tokens)

    @cached_property
    def content(self) -> Content:
        """What items say of themselves."""
        return content_of(self.tokens, self.titles, self.catalogue, self.facets)

    @cached_property
    def reviews(self) -> Reviews | None:
        """What users wrote of the items; None for nothing."""
        return self.read_reviews or reviews_of(self.dataset, ReviewReader(self.encoder.backbone))

    @cached_property
    def newcomers(self) -> Newcomers:
        """How items without a past would score."""
        return Newcomers.of(self.content, self.catalogue.popularity)

    @cached_property
    def item_facts(self) -> ItemFacts:
        """What policies know of the items: their columns, events, ages at the newest event, and texts as vectors."""
        return ItemFacts.from_dataset(self.dataset, self.unit_texts)

    @cached_property
    def _by_title(self) -> dict[str, int]:
        return {title.casefold(): index for index, title in reversed(list(enumerate(self.catalogue.titles)))}

    def find(self, entry: Any) -> int:
        """The catalogue index of an item id or a title.

        Raises
        ------
        NotFoundError
            It is neither; the message names the closest titles.
        """
        if entry in self.catalogue:
            return self.catalogue.index_of(entry)
        words = str(entry).strip()
        if words.casefold() in self._by_title:
            return self._by_title[words.casefold()]
        if isinstance(entry, str) and _NUMBER.fullmatch(words) and int(words) in self.catalogue:
            return self.catalogue.index_of(int(words))
        close = difflib.get_close_matches(words.casefold(), self._by_title, n=3, cutoff=0.5)
        advice = ", ".join(repr(self.catalogue.titles[self._by_title[title]]) for title in close)
        raise NotFoundError(
            f"{entry!r} is neither an item id nor a title of the catalogue"
            + (f"; the closest titles are {advice}" if advice else "; write a title as the items table has it")
        )

    def extended(self, backbone: Backbone, new_items: pl.DataFrame, settings: RecommenderSettings) -> Parts:
        """With further items behind the present ones, known by their text alone.

        Items that are in the catalogue already keep their place.
        """
        fresh = new_items.filter([item not in self.catalogue for item in new_items["item_id"].to_list()])
        return self if fresh.height == 0 else self.with_items(backbone, fresh, settings)

    def with_items(self, backbone: Backbone, items: pl.DataFrame, settings: RecommenderSettings) -> Parts:
        """With further items behind the present ones, and known ones as they are worded here; by their text alone.

        The data set and what counts its events stay as they are.
        """
        catalogue, before = self.catalogue.with_items(items, backbone.tokenizer), len(self.catalogue)
        changed = [self.catalogue.index_of(item) for item in items["item_id"].to_list() if item in self.catalogue]
        rows = [*changed, *range(before, len(catalogue))]
        titles = np.concatenate([self.titles, np.zeros((len(catalogue) - before, self.titles.shape[1]), np.float32)])
        titles[rows] = title_states(backbone, [catalogue.titles[row] for row in rows])
        return replace(
            self,
            catalogue=catalogue,
            prompter=make_prompter(backbone, catalogue, settings),
            facets=Facets.of(catalogue),
            tokens=self.tokens.extended(backbone, catalogue, self.catalogue.popularity, changed),
            titles=titles,
            read_reviews=self.read_reviews and self.read_reviews.extended(len(catalogue)),
            saved_index=None,
        )
