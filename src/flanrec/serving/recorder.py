"""Lists that were shown, written behind the answers: several at once, a moment later."""

from __future__ import annotations

import asyncio
import logging
import time

from flanrec.serving.settings import ServeSettings
from flanrec.serving.store import Store
from flanrec.serving.store.records import Shown

logger = logging.getLogger(__name__)

_SECONDS = 0.2
_MOST = 20_000
_HOUR = 3_600.0
_DAY = 24 * _HOUR


class Recorder:
    """Keeps lists in memory for a moment, and then in the store.

    What a list is needed for is to say later how well a model did, so an answer does not wait for it: a process that is
    killed loses the lists of the last moment, and never an event that was acknowledged.

    Every hour it forgets what is older than the settings say: lists, lines of the audit log, and decided cases.
    """

    def __init__(self, store: Store, settings: ServeSettings) -> None:
        self._store = store
        self._settings = settings
        self._lists: list[Shown] = []
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write; in a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._write(), name="flanrec-recorder")

    def add(self, shown: Shown) -> None:
        """Keep a list; where the store is so slow that very many wait, it is dropped."""
        if len(self._lists) < _MOST:
            self._lists.append(shown)

    async def flush(self) -> None:
        """Write all that waits."""
        lists, self._lists = self._lists, []
        try:
            await asyncio.to_thread(self._store.shown.add, lists)
        except Exception:
            logger.exception("%d lists that were shown could not be kept", len(lists))

    async def close(self) -> None:
        """Write what waits, and end."""
        if self._task is not None:
            self._task.cancel()
        await self.flush()

    def tidy(self) -> None:
        """Forget what is too old."""
        now = time.time()
        self._store.shown.forget(now - _DAY * self._settings.keep_shown_days)
        self._store.trail.forget(now - _DAY * self._settings.keep_audit_days)
        self._store.cases.forget(now - _DAY * self._settings.keep_audit_days)

    async def _write(self) -> None:
        tidied = float("-inf")
        while True:
            await asyncio.sleep(_SECONDS)
            if self._lists:
                await self.flush()
            if time.monotonic() - tidied > _HOUR:
                tidied = time.monotonic()
                try:
                    await asyncio.to_thread(self.tidy)
                except Exception:
                    logger.exception("what is too old could not be forgotten")
