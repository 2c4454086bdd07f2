"""Where the next page begins, as clients carry it: opaque, and of any id."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from fastapi import Query

from flanrec.errors import SettingsError

Cursor = Annotated[str | None, Query(max_length=2_000, description="``next`` of the page before.")]


def closed(after: str | None) -> str | None:
    """A place in a list as a cursor.

    >>> opened(closed("Łódź/1"))
    'Łódź/1'
    """
    return None if after is None else base64.urlsafe_b64encode(after.encode()).decode().rstrip("=")


def opened(cursor: str | None, *, whole: bool = False) -> str | None:
    """The place that a cursor stands for.

    Parameters
    ----------
    whole
        It must be a whole number.

    Raises
    ------
    SettingsError
        It is not one of this service.
    """
    if cursor is None:
        return None
    try:
        after = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError):
        after = ""
    if not after or "\0" in after or (whole and not (after.isascii() and after.isdigit() and len(after) < 19)):
        raise SettingsError("cursor: this is not the next of a page; begin without one")
    return after
