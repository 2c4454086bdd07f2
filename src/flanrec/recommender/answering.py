"""A fitted recommender among people and catalogue indices; `Replying` adds ids and tables around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flanrec.backbone import Backbone
from flanrec.catalogue.demonstrations import Demonstrations
from flanrec.catalogue.people import Person
from flanrec.errors import SettingsError
from flanrec.generation.engines import Engine, TorchEngine, make_engine
from flanrec.ranking.features import Features
from flanrec.ranking.policy import Policy
from flanrec.recommender import requests
from flanrec.recommender.asking import NOTHING, Asking, each_asking
from flanrec.recommender.fused import MODEL, FusedReading, Gatherer
from flanrec.recommender.new_items import rank_among
from flanrec.recommender.parts import Parts
from flanrec.recommender.readings import MatchReading, TokenReading, WordReading
from flanrec.recommender.reranking import Candidates, Ranked, depth, told, usable_policy
from flanrec.recommender.settings import RecommenderSettings
from flanrec.tuning import TrainingReport

Reading = Literal["fused", "item_tokens", "generate"]
READINGS: tuple[Reading, ...] = ("fused", "item_tokens", "generate")


class Answering:
    """The inner half of `Recommender`: what was fitted, and how it ranks for people.

    Parameters
    ----------
    backbone, settings
        As `Recommender` takes them.
    """

    def __init__(self, backbone: Backbone, settings: RecommenderSettings | None = None) -> None:
        self.backbone = backbone
        self.settings = settings or RecommenderSettings()
        self.reports: dict[str, TrainingReport] = {}
        self._parts: Parts | None = None
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """What runs the T5 to spell titles and to answer yes or no; the backbone itself unless another was chosen."""
        if self._engine is None:
            self._engine = TorchEngine(self.backbone)
        return self._engine

    def use_engine(self, engine: str | Path | Engine) -> None:
        """Choose the engine.

        Parameters
        ----------
        engine
            ``torch``, ``int8``, a folder that ``flanrec export ctranslate2`` wrote of this model, or an engine. With
            ``int8`` item tokens read histories in int8 too; with any other name they do not.

        Raises
        ------
        SettingsError, CheckpointError
            See `make_engine`.
        """
        self._engine = make_engine(engine, self.backbone) if isinstance(engine, str | Path) else engine
        if isinstance(engine, str | Path) and self._parts is not None:
            self._parts = replace(self._parts, int8_tokens=engine == "int8")

    @property
    def parts(self) -> Parts:
        """What fitting made.

        Raises
        ------
        SettingsError
            The recommender is not fitted.
        """
        if self._parts is None:
            raise SettingsError("the recommender is not fitted; call fit(), or load a saved one")
        return self._parts

    def adopt(self, parts: Parts) -> None:
        """Take over fitted parts; for loading."""
        self._parts = parts

    def people(self, user_ids: Sequence[Any]) -> list[Person]:
        """Users with the histories the recommender knows; an unknown id is a user without any."""
        return requests.known_people(self.parts, user_ids)

    def person(self, history: Iterable[Any], attributes: dict[str, str] | None = None) -> Person:
        """A user known by a history alone: item ids, or titles as the catalogue has them, oldest first.

        Raises
        ------
        NotFoundError
            An entry is neither; the message names the closest titles.
        """
        return requests.person_of(self.parts, history, attributes)

    def rank(
        self,
        persons: Sequence[Person],
        k: int,
        asking: Asking | Sequence[Asking] = NOTHING,
        *,
        reading: Reading = "fused",
        seen: bool = False,
        only: Iterable[Any] | None = None,
        without: Iterable[Any] = (),
        policy: Policy | str | Path | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """As `recommend`, for people and with catalogue indices: items int64 [n, k] (-1 for none) and scores."""
        rules = None if policy is None else usable_policy(policy, self.parts.item_facts)
        allowed = requests.allowed_items(self.parts.catalogue, only, without)
        return self.rank_open(
            persons, k, asking, reading=reading, seen=seen, allowed=allowed, policy=rules, progress=progress
        )

    def rank_open(
        self,
        persons: Sequence[Person],
        k: int,
        asking: Asking | Sequence[Asking] = NOTHING,
        *,
        reading: Reading = "fused",
        seen: bool = False,
        allowed: NDArray[np.bool_] | None = None,
        closed: Sequence[NDArray[np.int64]] | None = None,
        policy: Policy | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Ranked:
        """As `rank`, with catalogue indices, and a policy that was checked.

        Parameters
        ----------
        allowed
            bool [n_items], items that alone may come; None for all.
        closed
            Of each person, further items that may not come. A policy does not know of them and could pin one: there,
            close what is closed for all by `allowed`.
        """
        requests.check_k(k)
        if policy is None:
            return self._top(persons, k, asking, reading, seen, allowed, closed, progress)
        found = self._candidates(persons, k, asking, reading, seen, allowed, closed, progress)
        return told(found.reranked(policy, reasons=False))

    def candidates(
        self,
        persons: Sequence[Person],
        k: int,
        asking: Asking | Sequence[Asking] = NOTHING,
        *,
        reading: Reading = "fused",
        seen: bool = False,
        only: Iterable[Any] | None = None,
        without: Iterable[Any] = (),
        progress: Callable[[int], None] | None = None,
    ) -> Candidates:
        """What policies make lists of k from, and say what each of their rules moved; asked as `rank` is."""
        requests.check_k(k)
        allowed = requests.allowed_items(self.parts.catalogue, only, without)
        return self._candidates(persons, k, asking, reading, seen, allowed, None, progress)

    def _candidates(
        self,
        persons: Sequence[Person],
        k: int,
        asking: Asking | Sequence[Asking],
        reading: Reading,
        seen: bool,
        allowed: NDArray[np.bool_] | None,
        closed: Sequence[NDArray[np.int64]] | None,
        progress: Callable[[int], None] | None,
    ) -> Candidates:
        asked, deep = each_asking(asking, len(persons)), depth(k, reading)

        def again(rows: NDArray[np.int64], among: NDArray[np.bool_]) -> Ranked:
            some = rows.tolist()
            shut = closed and [closed[at] for at in some]
            return self._top([persons[at] for at in some], deep, [asked[at] for at in some], reading, seen, among, shut)

        ranked = self._top(persons, deep, asked, reading, seen, allowed, closed, progress)
        width = min(k, len(self.parts.catalogue))
        return Candidates(persons, ranked, self.parts.item_facts, width, seen, allowed, again)

    def _top(
        self,
        persons: Sequence[Person],
        k: int,
        asking: Asking | Sequence[Asking],
        reading: Reading,
        seen: bool,
        allowed: NDArray[np.bool_] | None,
        closed: Sequence[NDArray[np.int64]] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Ranked:
        width = min(k, len(self.parts.catalogue))
        excluded = closed if seen else [np.unique(person.items) for person in persons]
        if excluded is not None and closed is not None and not seen:
            excluded = [np.union1d(own, other) for own, other in zip(excluded, closed, strict=True)]
        if reading == "fused" and allowed is not None and not self.parts.catalogue.popularity[allowed].any():
            return rank_among(self.parts, allowed, persons, width, asking, excluded=excluded)
        if reading == "fused":
            return self.fused_reading.top(persons, width, asking, excluded=excluded, allowed=allowed)
        if reading == "item_tokens":
            return self.token_reading.top(persons, width, asking, excluded=excluded, allowed=allowed)
        if reading == "generate":
            return self.word_reading.top(persons, width, asking, excluded=excluded, allowed=allowed, progress=progress)
        raise SettingsError(f"reading {reading!r} is not known; use one of {', '.join(READINGS)}")

    def source_columns(self, persons: Sequence[Person], items: NDArray[np.int64], asking: Asking) -> list[pl.Series]:
        """What every source of the fused reading gave each item of ranked lists.

        Parameters
        ----------
        items
            int64 [n_persons, k], -1 for none.

        Returns
        -------
        list of polars.Series
            ``basis``, what the list rests on first, and ``from_ease`` and so on, float64, a value an item; rows as in
            `recommend`.
        """
        row, column = np.nonzero(items >= 0)
        found = self.fused_reading.contributions(persons, items, asking)
        bases = [requests.basis_of(person, asking.worded) for person in persons]
        return [
            pl.Series("basis", [bases[at] for at in row.tolist()], dtype=pl.String),
            *(pl.Series(f"from_{name}", values[row, column].astype(np.float64)) for name, values in found.items()),
        ]

    @property
    def token_reading(self) -> TokenReading:
        """The item-token reading."""
        return self.parts.token_reading

    @property
    def fused_reading(self) -> FusedReading:
        """All sources in one ranking."""
        parts = self.parts
        return FusedReading(self.gatherer(parts.fusion.sources & MODEL), parts.fusion)

    def gatherer(self, heard: frozenset[str]) -> Gatherer:
        """What asks the sources, of those of the language model the given ones alone."""
        parts = self.parts
        features = Features(self.settings.fusion.depth)
        reviews = parts.reviews if "written" in heard else None
        return Gatherer(parts.behaviour, features, self.token_reading, parts.content, reviews, heard)

    @property
    def word_reading(self) -> WordReading:
        """Generation under the trie."""
        settings = self.settings
        return WordReading(
            self.engine, self.parts.prompter, settings.num_beams, settings.search_nodes, self.demonstrations,
            settings.shots,
        )  # fmt: skip

    @property
    def match_reading(self) -> MatchReading:
        """P(yes)."""
        parts = self.parts
        return MatchReading(
            self.engine, parts.prompter, parts.rates, parts.calibration, self.demonstrations, self.settings.shots
        )

    @property
    def demonstrations(self) -> Demonstrations:
        """Solved examples of the users of the log, for prompts with ``shots``."""
        parts, settings = self.parts, self.settings
        return Demonstrations(parts.people, parts.prompter, settings.shot_tokens, settings.seed)
