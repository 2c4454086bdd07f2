"""The models that are served: several at once, each replaced in one step, or not at all."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from flanrec.backbone.adapters.sharing import hold_once
from flanrec.errors import CheckpointError, NotFoundError
from flanrec.serving.live import Live
from flanrec.serving.store import Store
from flanrec.serving.store.trail import Trace

logger = logging.getLogger(__name__)

_BY = Trace("flanrec serve")

Check = Callable[[Live], Sequence[str]]


@dataclass
class _Served:
    folder: Path
    live: Live
    before: tuple[Path, Live] | None = None


class Models:
    """Models by name.

    A model that changes is made beside the one that answers and takes its place when it is whole. What was deleted from
    the store is closed at once; texts that are new take the time to be read. Weights that models have in common are in
    memory once: versions of one, and those that were tuned from one T5 by something that leaves it as it is.

    Parameters
    ----------
    store
        Whose items they follow.
    device
        Where they are loaded.
    engine
        As `Recommender.use_engine` takes it.
    """

    def __init__(self, store: Store, device: str = "auto", engine: str = "torch") -> None:
        self._store = store
        self._device = device
        self._engine = engine
        self._served: dict[str, _Served] = {}
        self._default = ""
        self._lock = threading.Lock()
        self._follows = threading.Lock()
        self._reading: dict[str, Future[None]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flanrec-models")

    @property
    def default(self) -> str:
        """The name of the one that answers where none is named."""
        return self._default

    @property
    def names(self) -> list[str]:
        """All names, in the order in which they came."""
        return list(self._served)

    def all(self) -> list[Live]:
        """All models as they are."""
        return [one.live for one in self._served.values()]

    def load(self, name: str, folder: Path, check: Check | None = None) -> Live:
        """Serve a saved recommender under a name, in the place of what was there; the store takes in what it knows.

        Parameters
        ----------
        check
            Says what is wrong with a model, before it answers anybody.

        Raises
        ------
        CheckpointError
            The folder is not a whole model, or the check found something; what was served before goes on.
        """
        live = Live.load(name, folder, self._device)
        freed = hold_once(live.recommender.backbone, [one.recommender.backbone for one in self.all()])
        if freed:
            logger.info("model %s has %.0f MB of weights in common with those that are served", name, freed / 1e6)
        live.recommender.use_engine(self._engine)
        live = live.following(self._store)
        wrong = list(check(live)) if check is not None else []
        if wrong:
            raise CheckpointError(f"model {name} in {folder} is not taken: {'; '.join(wrong)}")
        if self._store.take_in(live.digest, live.recommender.parts.dataset, _BY):
            logger.info("the store took in what model %s knows", name)
        live = live.following(self._store)
        with self._lock:
            old = self._served.get(name)
            self._served[name] = _Served(folder, live, None if old is None else (old.folder, old.live))
            self._default = self._default or name
        logger.info("model %s is version %s", name, live.version)
        return live

    def roll_back(self, name: str) -> Live:
        """Serve again what was served before under this name.

        Raises
        ------
        NotFoundError
            There was nothing before.
        """
        while True:
            now = self._served.get(name)
            if now is None or now.before is None:
                raise NotFoundError(f"there is no earlier version of model {name!r}")
            folder, live = now.before
            live = live.following(self._store)  # it has not been followed since, and this takes its time
            with self._lock:
                if self._served.get(name) is not now:
                    continue
                self._served[name] = _Served(folder, live, (now.folder, now.live))
            return self.follow(name)

    def get(self, name: str = "") -> Live:
        """A model as it is; the default one for "".

        Raises
        ------
        NotFoundError
            No model has this name.
        """
        found = self._served.get(name or self._default)
        if found is None:
            raise NotFoundError(f"there is no model {name!r}; there are {', '.join(self._served)}")
        return found.live

    def current(self, name: str, revision: int) -> Live:
        """A model without what was deleted up to a revision of the store's items.

        Items that are new or worded anew at that revision are read in the background, and come a moment later.
        """
        live = self.get(name)
        if live.revision == revision:
            return live
        if live.looked < revision:
            closed = live.closing(self._store)
            self._replace(live, closed)
            live = closed
        self._read_later(live.name)
        return live

    def follow(self, name: str = "") -> Live:
        """A model with everything that the store has now; it takes the time to read new texts."""
        # One after the other: whoever waits here mostly finds that their change was read with the one before.
        with self._follows:
            while True:
                live = self.get(name)
                followed = live.following(self._store)
                if self._replace(live, followed):
                    return followed

    def close(self) -> None:
        """End the thread that reads."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _replace(self, old: Live, new: Live) -> bool:
        """Put a changed model in the place of the one that it was made of, unless that is gone."""
        with self._lock:
            now = self._served.get(old.name)
            # What was closed meanwhile is closed in the new one too, or comes to light with the next revision.
            if now is None or now.live.recommender is not old.recommender or now.live.revision != old.revision:
                return False
            now.live = new
            return True

    def _read_later(self, name: str) -> None:
        with self._lock:
            running = self._reading.get(name)
            if running is None or running.done():
                self._reading[name] = self._thread.submit(self._read, name)

    def _read(self, name: str) -> None:
        try:
            while self.get(name).revision != self._store.items.revision():
                self.follow(name)
        except Exception:
            logger.exception("model %s cannot follow the store's items; it answers without what is new", name)
