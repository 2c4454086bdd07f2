"""Environment variables of tracking libraries: quiet, offline, and inside the run's folder, unless the user says so."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def settled(variables: Mapping[str, str]) -> Iterator[None]:
    """Inside the block the variables have these values, but for those that were set before."""
    ours = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)
