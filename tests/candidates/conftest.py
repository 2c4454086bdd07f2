"""Logs from bare histories."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from flanrec.data import Sequences


def _log(histories: Sequence[Sequence[int]], n_items: int, times: Sequence[Sequence[float]] | None = None) -> Sequences:
    lengths = [len(each) for each in histories]
    events = sum(lengths)
    seconds = np.array([time for each in times for time in each] if times is not None else [np.nan] * events)
    return Sequences(
        [f"u{user}" for user in range(len(histories))],
        list(range(n_items)),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array([item for each in histories for item in each], dtype=np.int64),
        np.full(events, np.nan, dtype=np.float32),
        seconds.astype(np.float64),
    )


@pytest.fixture(scope="session")
def make_log() -> Callable[..., Sequences]:
    """Makes a log of histories, a catalogue size and, if wished, the time of each event."""
    return _log
