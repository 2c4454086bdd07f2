"""The recommender: one object that is fitted, asked, updated, saved and loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import polars as pl

from flanrec.backbone import load_backbone
from flanrec.data import Dataset
from flanrec.data.arrivals import arrivals
from flanrec.data.dataset import OnBadRows
from flanrec.errors import SettingsError
from flanrec.recommender.fitting import fit, nobody
from flanrec.recommender.replying import Replying
from flanrec.recommender.saving import is_saved, load, save
from flanrec.recommender.settings import RecommenderSettings
from flanrec.recommender.stages import Callbacks
from flanrec.recommender.updating import UpdateReport, UpdateSettings, update
from flanrec.tuning import all_processes

Precision = Literal["auto", "fp32", "bf16"]


class Recommender(Replying):
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
