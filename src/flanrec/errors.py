"""The errors flanrec raises on purpose.

Every message says what is wrong, where, and how to mend it. The command line prints the message
without a traceback and exits with code 2. Anything else that escapes is a defect and exits with 3.
"""

from __future__ import annotations


class FlanrecError(Exception):
    """Base of every error a caller can mend: wrong input, wrong settings, a broken file."""

    exit_code = 2


class DataError(FlanrecError):
    """Raised when a table cannot be read, a column is missing, or rows are not usable."""


class SettingsError(FlanrecError):
    """Raised when a setting has a value that cannot work, such as fp16 on a T5."""


class CheckpointError(FlanrecError):
    """Raised when a model folder, a training checkpoint or a download is missing, damaged or unsuitable."""


class TemplateError(FlanrecError):
    """Raised when an instruction template is malformed or a task lacks a field the template needs."""


class NotFoundError(FlanrecError):
    """Raised when a user, item, template or data set is asked for by a name that is not known."""


class StoreError(FlanrecError):
    """Raised when the database of the service cannot be reached, is locked, or has tables of another version."""


class ConflictError(FlanrecError):
    """Raised when what is to be done was done otherwise before, such as a case that somebody decided already."""
