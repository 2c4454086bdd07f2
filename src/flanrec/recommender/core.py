"""The recommender: one object that is fitted, asked, saved and loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl

from flanrec.backbone import load_backbone
from flanrec.data import Dataset
from flanrec.data.arrivals import arrivals
from flanrec.data.dataset import OnBadRows
from flanrec.errors import SettingsError
from flanrec.explanation import Explanation, explain
from flanrec.ranking.policy import Policy
from flanrec.recommender import requests
from flanrec.recommender.answering import Answering, Reading
from flanrec.recommender.asking import Asking
from flanrec.recommender.fitting import fit, nobody
from flanrec.recommender.new_items import rank_among, with_new_items
from flanrec.recommender.saving import is_saved, load, save
from flanrec.recommender.settings import RecommenderSettings
from flanrec.recommender.stages import Callbacks
from flanrec.recommender.tables import recommendations, refuse_text
from flanrec.recommender.updating import UpdateReport, UpdateSettings, update
from flanrec.tuning import all_processes

Precision = Literal["auto", "fp32", "bf16"]


class Recommender(Answering):
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

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        settings: RecommenderSettings | None = None,
        *,
        revision: str | None = None,
        device: str = "auto",
        precision: Precision = "auto",
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
    def load(cls, folder: Path | str, *, device: str = "auto", precision: Precision = "auto") -> Recommender:
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

        Beyond `item_index.exact_below` items the graph of the item tokens is written too, where usearch is installed;
        it is built first unless it was asked for already, which takes a minute or two for a million items.

        Of processes that tuned together the first one writes.

        Raises
        ------
        CheckpointError
            The folder holds files of somebody else.
        SettingsError
            The recommender is not fitted.
        """
        parts = self.parts
        if all_processes().first:
            save(Path(folder), self.backbone, self.settings, parts)

    def fit(
        self,
        train: Dataset,
        validation: Dataset | None = None,
        *,
        folder: Path | str | None = None,
        resume: bool = False,
        callbacks: Callbacks | None = None,
        examples: pl.DataFrame | Callable[[], pl.DataFrame] | None = None,
    ) -> Recommender:
        """Tune on a log.

        Started by torchrun, ``accelerate launch`` or Ray Train, the processes tune together, and each holds the same
        recommender in the end; `folder` must then be one that all of them see.

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
        examples
            Instructions of your own for the T5 to learn beside those made of the log: a table with ``prompt`` and
            ``target``, or what makes one (`flanrec.data.load_examples`). How often they have their turn says
            ``words.weights.examples``.

        Raises
        ------
        DataError
            There are no items or no interactions.
        CheckpointError
            The backbone cannot read the catalogue's language, or the checkpoints are of another fit.
        """
        kept = None if folder is None else Path(folder)
        fitted = fit(
            self.backbone, self.settings, train, validation, folder=kept, resume=resume, callbacks=callbacks,
            examples=examples,
        )  # fmt: skip
        self.backbone, self.reports, self._parts = fitted.backbone, fitted.reports, fitted.parts
        self._engine = None
        return self

    def update(
        self,
        interactions: Any,
        items: Any = None,
        users: Any = None,
        *,
        settings: UpdateSettings | None = None,
        folder: Path | str | None = None,
        resume: bool = False,
        callbacks: Callbacks | None = None,
        on_bad_rows: OnBadRows = "raise",
        rejects: str | Path | None = None,
    ) -> UpdateReport:
        """Learn what arrived since: new users, items and interactions, without being fitted again.

        Each updated user's last new event, and the last event of others, are set apart. The closed-form sources take in
        the rest; item tokens, and the T5 where it was tuned, are tuned a little on new events beside replayed old ones,
        held near where they were. Old and updated model are then asked about what was set apart. Where the updated one
        is surely worse on new events, or loses more than a tolerance on old ones, this recommender stays as it is; else
        it becomes the updated one, and all events are part of its histories.

        Parameters
        ----------
        interactions, items, users
            What arrived: files, addresses or frames, as `Dataset.from_files` and `Dataset.from_frames` take them. What
            is known already is passed over; an event may be older than those that are known.
        settings
            See `UpdateSettings`.
        folder, resume, callbacks
            As in `fit`.
        on_bad_rows, rejects
            What to do with rows that are not usable, as in `Dataset.from_files`.

        Returns
        -------
        UpdateReport
            Whether it was accepted, and what held-out events said.

        Raises
        ------
        DataError
            A table is not usable, or an interaction names an item that neither is known nor arrives.
        CheckpointError
            The checkpoints in `folder` are of another update.
        SettingsError
            The recommender is not fitted, or training gave numbers that are not finite.
        """
        found = arrivals(self.parts.dataset, interactions, items, users, on_bad_rows=on_bad_rows, rejects=rejects)
        candidate, report = update(
            self, found, settings or UpdateSettings(), folder=None if folder is None else Path(folder), resume=resume,
            callbacks=callbacks or nobody,
        )  # fmt: skip
        if candidate is not None:
            self.backbone, self._parts = candidate
            self._engine = None
        self.reports = report.stages or self.reports
        return report

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
        parts, reading = self.parts, self.fused_reading
        person = requests.one_of(parts, user, history, attributes)
        return explain(
            person,
            parts.find(item),
            lambda persons, said: reading.scores(persons, Asking(said)),
            parts.catalogue,
            parts.facets,
            favourite_categories=parts.prompter.profile(person).favourite_categories,
            wish=wish,
            prompt=self.token_reading.prompts([person], Asking(wish))[0],
            window=parts.tokens.settings.window,
        )
