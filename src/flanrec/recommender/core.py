"""The recommender: one object that is fitted, asked, saved and loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flanrec.backbone import Backbone, load_backbone
from flanrec.catalogue.people import Person, people
from flanrec.data import Dataset
from flanrec.errors import DataError, SettingsError
from flanrec.explanation import Explanation, explain
from flanrec.recommender.fitting import fit
from flanrec.recommender.new_items import rank_among, with_new_items
from flanrec.recommender.parts import Parts
from flanrec.recommender.readings import Asking, MatchReading, TokenReading, WordReading
from flanrec.recommender.saving import is_saved, load, save
from flanrec.recommender.settings import RecommenderSettings
from flanrec.recommender.stages import Callbacks
from flanrec.recommender.tables import recommendations, refuse_text, stored_ids
from flanrec.tuning import TrainingReport

logger = logging.getLogger(__name__)

Reading = Literal["item_tokens", "generate"]
READINGS: tuple[Reading, ...] = ("item_tokens", "generate")


class Recommender:
    """Recommends items of one catalogue, by a T5 tuned on instructions.

    Parameters
    ----------
    backbone
        The T5 to start from. `fit` changes its weights.
    settings
        What `fit` does; a preset's settings come from ``RecommenderSettings.preset``.

    Examples
    --------
    Fit, ask and save::

        rec = Recommender.from_pretrained("google/flan-t5-small")
        rec.fit(split.train, validation=split.validation)
        rec.recommend(users=["196"], k=10, wish="comedy")
        rec.save_pretrained("model/")
    """

    def __init__(self, backbone: Backbone, settings: RecommenderSettings | None = None) -> None:
        self.backbone = backbone
        self.settings = settings or RecommenderSettings()
        self.reports: dict[str, TrainingReport] = {}
        self._parts: Parts | None = None

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        settings: RecommenderSettings | None = None,
        *,
        revision: str | None = None,
        device: str = "auto",
        precision: Literal["auto", "fp32", "bf16"] = "auto",
    ) -> Recommender:
        """Load a saved recommender, or start one from a T5 checkpoint.

        Parameters
        ----------
        name
            A folder of `save_pretrained`, or what `load_backbone` takes.
        settings
            Of a new recommender; a saved one has its own.

        Raises
        ------
        CheckpointError
            The folder is damaged or the checkpoint cannot be had.
        """
        if name is not None and is_saved(Path(name)):
            if settings is not None:
                raise SettingsError(f"{name} is a fitted recommender with settings of its own; leave settings out")
            return cls.load(Path(name), device=device, precision=precision)
        return cls(load_backbone(name, revision=revision, device=device, precision=precision), settings)

    @classmethod
    def load(
        cls, folder: Path | str, *, device: str = "auto", precision: Literal["auto", "fp32", "bf16"] = "auto"
    ) -> Recommender:
        """Load a folder of `save_pretrained`, and nothing else.

        Raises
        ------
        CheckpointError
            There is no such folder, it holds something else, or it is damaged.
        """
        loaded = load(Path(folder), device=device, precision=precision)
        recommender = cls(loaded.backbone, loaded.settings)
        recommender.adopt(loaded.parts)
        return recommender

    def save_pretrained(self, folder: Path | str) -> None:
        """Write everything that recommending needs as safetensors, JSON and Parquet; all or nothing.

        Raises
        ------
        CheckpointError
            The folder holds files of somebody else.
        SettingsError
            The recommender is not fitted.
        """
        save(Path(folder), self.backbone, self.settings, self.parts)

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

    def fit(
        self,
        train: Dataset,
        validation: Dataset | None = None,
        *,
        folder: Path | str | None = None,
        resume: bool = False,
        callbacks: Callbacks | None = None,
    ) -> Recommender:
        """Tune on a log.

        Parameters
        ----------
        train
            Interactions, items and, if there are, users and reviews.
        validation
            Later interactions of the same items. They decide when tuning stops and calibrate the match
            probability. By default each user's last event is set apart. Either way they are part of the
            histories that the fitted recommender recommends from.
        folder
            Where checkpoints are kept, so that a killed fit can go on.
        resume
            Go on from the checkpoints in `folder`.
        callbacks
            From the name of a stage, who is told of its progress.

        Raises
        ------
        DataError
            There are no items or no interactions.
        CheckpointError
            The backbone cannot read the catalogue's language, or the checkpoints are of another fit.
        """
        fitted = fit(
            self.backbone,
            self.settings,
            train,
            validation,
            folder=None if folder is None else Path(folder),
            resume=resume,
            callbacks=callbacks,
        )
        self.backbone, self.reports, self._parts = fitted.backbone, fitted.reports, fitted.parts
        return self

    def people(self, user_ids: Sequence[Any]) -> list[Person]:
        """Users with the histories the recommender knows; an unknown id is a user without any."""
        dataset = self.parts.dataset
        return people(dataset, stored_ids(user_ids, dataset.interactions["user_id"].dtype))

    def person(self, history: Iterable[Any], attributes: dict[str, str] | None = None) -> Person:
        """A user known by a history alone.

        Parameters
        ----------
        history
            Item ids, or titles as the catalogue has them, oldest first.

        Raises
        ------
        NotFoundError
            An entry is neither; the message names the closest titles.
        """
        return Person.new([self.parts.find(entry) for entry in history], attributes)

    def recommend(
        self,
        users: Sequence[Any] | None = None,
        k: int = 10,
        *,
        history: Iterable[Any] | None = None,
        attributes: dict[str, str] | None = None,
        wish: str = "",
        avoid: str = "",
        reading: Reading = "item_tokens",
        seen: bool = False,
        only: Iterable[Any] | None = None,
        without: Iterable[Any] = (),
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
            ``item_tokens`` (fast) or ``generate`` (spelled title by title).
        seen
            Whether items of the history may come again.
        only, without
            Item ids that alone may come, or may not come.

        Returns
        -------
        polars.DataFrame
            user_id, item_id, score (log-probability of coming next), rank from 1; best first for each
            user. With `history` the user_id is null.

        Raises
        ------
        SettingsError
            k is below 1, or neither or both of users and history are given.
        NotFoundError
            An item of history, only or without is unknown.
        """
        if (users is None) == (history is None):
            raise SettingsError("give either users or a history")
        refuse_text(users=users, history=history, only=only, without=without)
        if users is not None:
            persons = self.people(users)
            unknown = sum(not len(person.items) for person in persons)
            if unknown:
                logger.warning("%d of %d users have no history; they get what suits anybody", unknown, len(persons))
            ids = list(users)
        else:
            persons, ids = [self.person(history or (), attributes)], [None]
        items, scores = self.rank(
            persons, k, Asking(wish, avoid), reading=reading, seen=seen, only=only, without=without
        )
        return recommendations(ids, items, scores, self.parts.dataset, self.parts.catalogue.item_ids)

    def rank(
        self,
        persons: Sequence[Person],
        k: int,
        asking: Asking | Sequence[Asking] = Asking(),  # noqa: B008
        *,
        reading: Reading = "item_tokens",
        seen: bool = False,
        only: Iterable[Any] | None = None,
        without: Iterable[Any] = (),
        progress: Callable[[int], None] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """As `recommend`, for people and with catalogue indices: items int64 [n, k] (-1 for none) and scores."""
        if k < 1:
            raise SettingsError(f"k is {k}; it must be at least 1")
        parts = self.parts
        width = min(k, len(parts.catalogue))
        allowed = None
        closed = [parts.catalogue.index_of(item) for item in without]
        if only is not None or closed:
            allowed = np.full(len(parts.catalogue), only is None)
            allowed[[parts.catalogue.index_of(item) for item in only or ()]] = True
            allowed[closed] = False
        excluded = None if seen else [np.unique(person.items) for person in persons]
        if reading == "item_tokens":
            return self.token_reading.top(persons, width, asking, excluded=excluded, allowed=allowed)
        if reading == "generate":
            return self.word_reading.top(persons, width, asking, excluded=excluded, allowed=allowed, progress=progress)
        raise SettingsError(f"reading {reading!r} is not known; use one of {', '.join(READINGS)}")

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
        missing = [name for name in ("user_id", "item_id") if name not in pairs.columns]
        if missing:
            raise DataError(f"pairs lack the column {', '.join(missing)}; they have {', '.join(pairs.columns)}")
        ids = pairs["user_id"].unique(maintain_order=True).to_list()
        known = dict(zip(ids, self.people(ids), strict=True))
        items = [self.parts.catalogue.index_of(item) for item in pairs["item_id"].to_list()]
        users = [known[user] for user in pairs["user_id"].to_list()]
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
        if k < 1:
            raise SettingsError(f"k is {k}; it must be at least 1")
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
        if (user is None) == (history is None):
            raise SettingsError("give either a user or a history")
        refuse_text(history=history)
        parts, reading = self.parts, self.token_reading
        person = self.people([user])[0] if history is None else self.person(history, attributes)
        return explain(
            person,
            parts.find(item),
            lambda persons, said: reading.scores(persons, Asking(said)),
            parts.catalogue,
            parts.facets,
            favourite_categories=parts.prompter.profile(person).favourite_categories,
            wish=wish,
            prompt=reading.prompts([person], Asking(wish))[0],
            window=parts.tokens.settings.window,
        )

    @property
    def token_reading(self) -> TokenReading:
        """The item-token reading."""
        return TokenReading(self.parts.tokens, self.parts.encoder, self.parts.prompter)

    @property
    def word_reading(self) -> WordReading:
        """Generation under the trie."""
        return WordReading(self.backbone, self.parts.prompter, self.settings.num_beams)

    @property
    def match_reading(self) -> MatchReading:
        """P(yes)."""
        return MatchReading(self.backbone, self.parts.prompter, self.parts.rates, self.parts.calibration)
