"""A model as it answers now: what was fitted, with the items that the store has."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flanrec.artefact import MANIFEST, sha256_of
from flanrec.errors import NotFoundError
from flanrec.recommender import Recommender
from flanrec.recommender.catalogue_changes import changed_catalogue
from flanrec.serving.store import Store
from flanrec.serving.tables import typed_id, unlike

logger = logging.getLogger(__name__)

Ints = NDArray[np.int64]
_NOTHING = np.zeros(0, dtype=np.int64)


class Names:
    """The ids of a catalogue as the service writes them, and where each item is.

    Attributes
    ----------
    ids
        By catalogue index.
    places
        Catalogue index by id.
    """

    def __init__(self, recommender: Recommender) -> None:
        self.ids = [str(item) for item in recommender.parts.catalogue.item_ids]
        self.places: Mapping[str, int] = {item: place for place, item in enumerate(self.ids)}


@dataclass(frozen=True, eq=False)
class Live:
    """One version of a model, with the catalogue as the store had it at a revision. It never changes.

    Attributes
    ----------
    name
        Under which it is served.
    digest
        SHA-256 of its manifest.
    recommender
    names
        Of its items.
    revision
        Of the store's items.
    closed
        Catalogue indices of the items that were deleted.
    looked
        Revision of the store's items up to which those that were deleted are closed; never before `revision`.
    """

    name: str
    digest: str
    recommender: Recommender
    names: Names
    revision: int = 0
    closed: Ints = field(default_factory=lambda: _NOTHING)
    looked: int = 0

    @classmethod
    def load(cls, name: str, folder: Path, device: str = "auto") -> Live:
        """Load a saved recommender, with its own items.

        Raises
        ------
        CheckpointError
            The folder is damaged, a file's hash does not fit its manifest, or it holds something else.
        """
        digest = sha256_of(folder / MANIFEST) if (folder / MANIFEST).is_file() else ""
        recommender = Recommender.load(folder, device=device)  # says what is wrong where there is no manifest
        return cls(name, digest, recommender, Names(recommender))

    @property
    def version(self) -> str:
        """The first digits of the digest."""
        return self.digest[:12]

    def closing(self, store: Store) -> Live:
        """The same model without what was deleted from the store since; new texts are left for `following`."""
        revision, deleted = store.items.deleted(self.looked)
        gone = {self.places[item] for item in deleted if item in self.places} - set(self.closed.tolist())
        closed = np.union1d(self.closed, np.array(list(gone), dtype=np.int64)) if gone else self.closed
        return replace(self, closed=closed, looked=revision)

    def following(self, store: Store) -> Live:
        """The same model with all changes of the store's items since."""
        changes = store.items.changes(self.revision)
        if changes.revision == self.revision:
            return self
        gone = {self.places[item] for item in changes.deleted if item in self.places}
        back = {self.places[item.item_id] for item in changes.put if item.item_id in self.places}
        fresh = unlike(changes.put, self.recommender.parts.dataset)
        recommender, names = self.recommender, self.names
        if fresh.height:
            recommender = Recommender(self.recommender.backbone, self.recommender.settings)
            recommender.adopt(changed_catalogue(self.recommender, fresh))
            recommender.use_engine(self.recommender.engine)
            names = Names(recommender)
        closed = np.array(sorted(({*self.closed.tolist()} | gone) - back), dtype=np.int64)
        now = changes.revision
        return replace(self, recommender=recommender, names=names, revision=now, closed=closed, looked=now)

    @property
    def ids(self) -> list[str]:
        """The id of every item as the service writes it."""
        return self.names.ids

    @property
    def places(self) -> Mapping[str, int]:
        """The catalogue index of every id."""
        return self.names.places

    @cached_property
    def open(self) -> NDArray[np.bool_]:
        """Which items may be recommended: bool [n_items]."""
        found = np.ones(len(self.ids), dtype=bool)
        found[self.closed] = False
        return found

    @cached_property
    def by_popularity(self) -> Ints:
        """Open items, the most popular first."""
        order = np.argsort(-self.recommender.parts.catalogue.popularity, kind="stable")
        return order[self.open[order]]

    @property
    def tail(self) -> NDArray[np.bool_]:
        """Which items are outside the head of the catalogue: bool [n_items]."""
        return self.recommender.parts.item_facts.tail

    def accepts(self, item_id: str) -> bool:
        """Whether an item may have this id: a catalogue of whole numbers has no other ids."""
        return typed_id(item_id, self.recommender.parts.dataset.items["item_id"].dtype) is not None

    def place(self, item_id: str) -> int:
        """The catalogue index of an id.

        Raises
        ------
        NotFoundError
            There is no such item, or it was deleted.
        """
        place = self.places.get(item_id)
        if place is None or not self.open[place]:
            raise NotFoundError(f"there is no item {item_id!r}")
        return place

    def find(self, entry: str) -> int:
        """The catalogue index of an id or a title.

        Raises
        ------
        NotFoundError
            It is neither, or the item was deleted.
        """
        if entry in self.places:
            return self.place(entry)
        titled = self._open_titles.get(entry.strip().casefold())
        if titled is None:  # titles that are like it are not looked for: that would keep everybody else waiting
            raise NotFoundError(f"there is no item {entry!r}: neither an id nor a title of the catalogue")
        return titled

    @cached_property
    def _open_titles(self) -> Mapping[str, int]:
        """Of items that may be recommended; of those with one title the first."""
        titles = self.recommender.parts.catalogue.titles
        return {titles[place].casefold(): place for place in np.flatnonzero(self.open)[::-1].tolist()}
