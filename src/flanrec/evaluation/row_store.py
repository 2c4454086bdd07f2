"""Finished rows in a folder, so that a comparison that was killed goes on where it was."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import uuid
import zipfile
import zlib
from pathlib import Path

import numpy as np

import flanrec
from flanrec.evaluation.methods import K, Method, Row
from flanrec.evaluation.tasks import RankingTask

logger = logging.getLogger(__name__)
_UNREADABLE = (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error)


class RowStore:
    """Rows by what decides them: the task, the method and its settings, and the version of flanrec.

    A file is an ``.npz`` without pickled objects; one that is damaged or of something else is passed over.

    Parameters
    ----------
    folder
        Made when the first row is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, method: Method, task: RankingTask) -> Path:
        """The file of a row."""
        decided_by = [flanrec.__version__, task.fingerprint, method.kind, method.name, method.settings]
        key = hashlib.sha256(json.dumps(decided_by).encode()).hexdigest()[:24]
        words = re.sub(r"[^a-z0-9]+", "-", f"{task.rule} {method.name}".lower()).strip("-")[:60]
        return self.folder / f"{words}-{key}.npz"

    def find(self, method: Method, task: RankingTask) -> Row | None:
        """The row of a method if it is finished."""
        path = self.path(method, task)
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as kept:
                items, seconds = kept["items"].astype(np.int64), kept["seconds"].astype(np.float64)
        except _UNREADABLE as problem:
            logger.warning("%s cannot be read and is measured again: %s", path, problem)
            return None
        fits = items.shape == (len(task.people), K) and items.size and -1 <= items.min() <= items.max() < task.n_items
        if not fits or seconds.shape != (2,):
            logger.warning("%s is not of this comparison and is measured again", path)
            return None
        return Row(method.name, method.kind, method.settings, items, float(seconds[0]), float(seconds[1]))

    def keep(self, row: Row, method: Method, task: RankingTask) -> None:
        """Write a row so that a crash leaves all of it or nothing."""
        path = self.path(method, task)
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{uuid.uuid4().hex}.npz")
        try:
            np.savez_compressed(draft, items=row.items, seconds=np.array([row.fit_seconds, row.user_seconds]))
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
