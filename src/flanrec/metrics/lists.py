"""Lists of items per user: the two shapes every metric reads.

A *ranked* array is ``int[n_users, k]``: catalogue indices, best first, with -1 where a list has run out.
Items without an order (relevant items, histories, exclusions) are compressed rows: ``items[offsets[u]:offsets[u + 1]]``
belong to user ``u``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from flanrec.errors import DataError

EMPTY = -1
"""The value of a slot in a ranked list that holds no item."""

IntegerArray = npt.NDArray[np.integer[Any]]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class ItemLists(Protocol):
    """Anything with compressed rows of items, such as `UserItems` or `flanrec.data.sequences.Sequences`."""

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """``int64[n_users + 1]``, rising from 0 to ``len(items)``."""
        ...

    @property
    def items(self) -> npt.NDArray[np.int64]:
        """``int64[n]`` catalogue indices."""
        ...


@dataclass(frozen=True)
class UserItems:
    """Items of each user as compressed rows.

    Parameters
    ----------
    offsets
        ``int64[n_users + 1]``.
    items
        ``int64[n]`` catalogue indices.

    Examples
    --------
    >>> held_out = UserItems.from_lists([[3], [], [0, 2]])
    >>> held_out.offsets.tolist(), held_out.items.tolist()
    ([0, 1, 1, 3], [3, 0, 2])
    """

    offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]

    @classmethod
    def from_lists(cls, lists: Iterable[Sequence[int]]) -> UserItems:
        """Build from one sequence of catalogue indices a user."""
        rows = [np.asarray(row, dtype=np.int64).reshape(-1) for row in lists]
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return cls(offsets, np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64))


def check_ranked(ranked: IntegerArray, n_items: int | None = None) -> IntegerArray:
    """Return `ranked` as an array, or raise `DataError` when it is not ``int[n_users, k]`` of valid indices."""
    ranked = np.asarray(ranked)
    if ranked.ndim != 2 or not np.issubdtype(ranked.dtype, np.integer):
        raise DataError(
            f"ranked lists must be a two-dimensional integer array [n_users, k], got {ranked.dtype} of shape "
            f"{ranked.shape}; give catalogue indices with -1 for an empty slot"
        )
    if ranked.size and int(ranked.min()) < EMPTY:
        user, slot = np.argwhere(ranked < EMPTY)[0]
        raise DataError(
            f"ranked list of user row {user} has {ranked[user, slot]} at rank {slot + 1}; "
            "only catalogue indices and -1 (empty slot) are understood"
        )
    if n_items is not None and ranked.size and int(ranked.max()) >= n_items:
        user, slot = np.argwhere(ranked >= n_items)[0]
        raise DataError(
            f"ranked list of user row {user} has item {ranked[user, slot]} at rank {slot + 1}, but the catalogue has "
            f"{n_items} items; rank against the same catalogue that is evaluated"
        )
    return ranked


def check_lists(lists: ItemLists, n_users: int, what: str) -> None:
    """Raise `DataError` unless `lists` are well-formed compressed rows for `n_users` users; `what` names them."""
    offsets, items = np.asarray(lists.offsets), np.asarray(lists.items)
    if len(offsets) != n_users + 1:
        raise DataError(
            f"{what} have {len(offsets) - 1} user rows but {n_users} were expected; "
            "both must hold the same users in the same order"
        )
    if offsets[0] != 0 or offsets[-1] != len(items) or bool(np.any(np.diff(offsets) < 0)):
        raise DataError(f"{what} have offsets that do not rise from 0 to the number of items ({len(items)})")
    if len(items) and int(items.min()) < 0:
        raise DataError(f"{what} hold the negative item index {int(items.min())}; only catalogue indices count")


def users_of(lists: ItemLists) -> npt.NDArray[np.int64]:
    """Return the user row of every entry of ``lists.items``, ``int64[n]``."""
    return np.repeat(np.arange(len(lists.offsets) - 1, dtype=np.int64), np.diff(lists.offsets))


def pair_keys(lists: ItemLists, width: int) -> npt.NDArray[np.int64]:
    """Return the sorted distinct ``user * width + item`` of all pairs with ``item < width``."""
    keep = np.asarray(lists.items) < width
    return np.unique(users_of(lists)[keep] * width + np.asarray(lists.items, dtype=np.int64)[keep])


def distinct_counts(lists: ItemLists) -> npt.NDArray[np.int64]:
    """Return the number of distinct items of each user, ``int64[n_users]``."""
    n_users = len(lists.offsets) - 1
    if len(lists.items) == 0:
        return np.zeros(n_users, dtype=np.int64)
    width = int(np.max(lists.items)) + 1
    return np.bincount(pair_keys(lists, width) // width, minlength=n_users).astype(np.int64)


def found_in(ranked: IntegerArray, lists: ItemLists) -> BoolArray:
    """Return ``bool[n_users, k]``: the slot holds an item that is among the user's `lists`."""
    if ranked.size == 0 or len(lists.items) == 0:
        return np.zeros(ranked.shape, dtype=np.bool_)
    width = max(int(ranked.max()), int(np.max(lists.items))) + 1
    known = pair_keys(lists, width)
    wanted = np.arange(len(ranked), dtype=np.int64)[:, None] * width + ranked.astype(np.int64)
    position = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    found: BoolArray = (known[position] == wanted) & (ranked != EMPTY)
    return found


def repeated(ranked: IntegerArray) -> BoolArray:
    """Return ``bool[n_users, k]``: the slot holds an item that already stood further up in the same list.

    Examples
    --------
    >>> repeated(np.array([[4, 7, 4, -1, -1]])).tolist()
    [[False, False, True, False, False]]
    """
    order = np.argsort(ranked, axis=1, kind="stable")
    in_order = np.take_along_axis(ranked, order, axis=1)
    again = np.zeros(ranked.shape, dtype=np.bool_)
    again[:, 1:] = (in_order[:, 1:] == in_order[:, :-1]) & (in_order[:, 1:] != EMPTY)
    result = np.zeros(ranked.shape, dtype=np.bool_)
    np.put_along_axis(result, order, again, axis=1)
    return result
