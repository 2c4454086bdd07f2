"""What every source of candidates is: settings that fit a log, and the fitted scorer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from flanrec.data.sequences import Sequences
from flanrec.errors import CheckpointError, DataError

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Arrays = dict[str, NDArray[Any]]


class Scorer(Protocol):
    """A source that was fitted. It is never changed: `update` makes another one."""

    @property
    def name(self) -> str:
        """The source in a word, for tables and file names."""

    @property
    def n_items(self) -> int:
        """Size of the catalogue that is scored."""

    def scores(self, histories: Sequence[Ints]) -> Floats:
        """How well each item of the catalogue follows each history, by this source alone.

        Parameters
        ----------
        histories
            Catalogue indices of each user's events, oldest first. The user need not have been in the log,
            and a history may be empty.

        Returns
        -------
        float32 [n_users, n_items]
            Always finite; higher is better, and 0 where a source knows nothing. Scores compare items within
            a row; items of the history are scored like any other.

        Raises
        ------
        DataError
            If a history names an item outside the catalogue.
        """

    def update(self, log: Sequences, before: Sequences | None = None) -> Self:
        """The scorer of all events so far, those of `log` added.

        It equals fitting on the whole log anew, up to rounding.

        Parameters
        ----------
        log
            Further events alone. Its catalogue may have more items, after those known.
        before
            The events that each user of `log` had before, users in the same order; by default all are new. A
            user who is wrongly said to be new is counted as a second one.

        Raises
        ------
        DataError
            If the catalogue of `log` is smaller than the known one, or `before` has other users.
        """

    def arrays(self) -> Arrays:
        """What `Source.from_arrays` needs to restore the scorer; settings are not among it."""


class Source(Protocol):
    """The settings of a source."""

    @property
    def name(self) -> str:
        """The source in a word, for tables and file names."""

    @property
    def layout(self) -> Mapping[str, int]:
        """Name and number of dimensions of each of the fitted scorer's arrays."""

    def fit(self, log: Sequences) -> Scorer:
        """Learn from a log. The order of its users is of no matter."""

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> Scorer:
        """Restore a scorer that was fitted with these settings.

        Raises
        ------
        CheckpointError
            If an array is missing or does not fit the others.
        """


class Flat(NamedTuple):
    """Histories one after the other.

    Attributes
    ----------
    users
        int64 [n_events], the row of the history.
    items
        int64 [n_events], catalogue indices.
    ages
        int64 [n_events], 0 for the newest event of a history, 1 for the one before, ...
    """

    users: Ints
    items: Ints
    ages: Ints


def flatten(histories: Sequence[Ints], n_items: int) -> Flat:
    """Lay histories end to end and check that they are of the catalogue.

    Raises
    ------
    DataError
        If an item is outside the catalogue.

    Examples
    --------
    >>> flat = flatten([np.array([4, 2]), np.array([], dtype=np.int64), np.array([3])], n_items=5)
    >>> flat.users.tolist(), flat.items.tolist(), flat.ages.tolist()
    ([0, 0, 2], [4, 2, 3], [1, 0, 0])
    """
    lengths = np.fromiter((len(history) for history in histories), dtype=np.int64, count=len(histories))
    items = np.concatenate([np.zeros(0, dtype=np.int64), *histories]).astype(np.int64, copy=False)
    if len(items) and not 0 <= int(items.min()) <= int(items.max()) < n_items:
        strange = items[(items < 0) | (items >= n_items)][0]
        raise DataError(
            f"a history has item {strange}, but the scorer knows a catalogue of {n_items} items; "
            "give catalogue indices, and update the scorer when the catalogue grows"
        )
    users = np.repeat(np.arange(len(histories), dtype=np.int64), lengths)
    ages = np.repeat(np.cumsum(lengths), lengths) - 1 - np.arange(len(items), dtype=np.int64)
    return Flat(users, items, ages)


def flat_log(log: Sequences) -> Flat:
    """The events of a log, whose items are of its catalogue."""
    lengths = np.diff(log.offsets)
    users = np.repeat(np.arange(len(log), dtype=np.int64), lengths)
    ages = np.repeat(log.offsets[1:], lengths) - 1 - np.arange(len(log.items), dtype=np.int64)
    return Flat(users, log.items, ages)


def once(flat: Flat, n_items: int) -> Flat:
    """Each item of a history once, at its newest place, by rising user and item.

    Examples
    --------
    >>> flat = once(flatten([np.array([4, 2, 4])], n_items=5), n_items=5)
    >>> flat.items.tolist(), flat.ages.tolist()
    ([2, 4], [1, 0])
    """
    keys = (flat.users * n_items + flat.items)[::-1]
    _, newest = np.unique(keys, return_index=True)
    chosen = len(keys) - 1 - newest
    return Flat(flat.users[chosen], flat.items[chosen], flat.ages[chosen])


def check_growth(n_items: int, log: Sequences) -> int:
    """The size of the catalogue after an update.

    Raises
    ------
    DataError
        If the catalogue of `log` lacks items that are known.
    """
    if len(log.item_ids) < n_items:
        raise DataError(
            f"the new events are of a catalogue of {len(log.item_ids)} items, but the scorer knows {n_items}; "
            "pass the whole catalogue, with new items at its end"
        )
    return len(log.item_ids)


def extended(log: Sequences, before: Sequences | None) -> tuple[Sequences, NDArray[np.bool_]]:
    """Each user's earlier events and then those of `log`, and which of all events are of `log`.

    Raises
    ------
    DataError
        If `before` has not as many users as `log`.

    Examples
    --------
    >>> times = np.zeros(2)
    >>> before = Sequences(["u"], [0, 1, 2], np.array([0, 2]), np.array([2, 1]), times, times)
    >>> log = Sequences(["u"], [0, 1, 2], np.array([0, 1]), np.array([0]), times[:1], times[:1])
    >>> whole, fresh = extended(log, before)
    >>> whole.items.tolist(), fresh.tolist()
    ([2, 1, 0], [False, False, True])
    """
    if before is None:
        return log, np.ones(len(log.items), dtype=bool)
    if len(before) != len(log):
        raise DataError(f"the log has {len(log)} users, but {len(before)} earlier histories; give one a user")
    earlier = np.arange(len(before.items)) + np.repeat(log.offsets[:-1], np.diff(before.offsets))
    later = np.arange(len(log.items)) + np.repeat(before.offsets[1:], np.diff(log.offsets))
    order = np.argsort(np.concatenate([earlier, later]))
    fresh = np.zeros(len(order), dtype=bool)
    fresh[later] = True
    items, ratings, timestamps = (
        np.concatenate([getattr(before, name), getattr(log, name)])[order]
        for name in ("items", "ratings", "timestamps")
    )
    return replace(
        log, offsets=before.offsets + log.offsets, items=items, ratings=ratings, timestamps=timestamps
    ), fresh


def named_array(arrays: Mapping[str, NDArray[Any]], name: str, dimensions: int) -> NDArray[Any]:
    """One of the saved arrays.

    Raises
    ------
    CheckpointError
        If it is missing or has another number of dimensions.
    """
    found = arrays.get(name)
    if found is None or found.ndim != dimensions:
        shape = "is missing" if found is None else f"has shape {found.shape}"
        raise CheckpointError(f"the array {name!r} of a candidate source {shape}; fit and save the source again")
    return found
