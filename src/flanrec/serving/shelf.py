"""The folder that models may be loaded from while the service runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from flanrec.artefact import MANIFEST
from flanrec.errors import NotFoundError, SettingsError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True)
class Shelf:
    """Saved recommenders, each a folder in one folder; none where there is no such folder.

    Examples
    --------
    >>> Shelf(None).folders()
    []
    """

    place: Path | None

    def folders(self) -> list[str]:
        """Names of the folders that hold a finished model."""
        if self.place is None or not self.place.is_dir():
            return []
        return sorted(
            one.name for one in self.place.iterdir() if _NAME.fullmatch(one.name) and (one / MANIFEST).is_file()
        )

    def folder(self, name: str) -> Path:
        """The folder of a name, which is the name of a folder on the shelf and nothing else.

        Raises
        ------
        SettingsError
            The service has no shelf.
        NotFoundError
            There is no finished model of this name.
        """
        if self.place is None:
            raise SettingsError("this service loads no further models; start it with --models FOLDER")
        if name not in self.folders():
            raise NotFoundError(f"there is no finished model {name!r} to load; there are {', '.join(self.folders())}")
        return self.place / name
