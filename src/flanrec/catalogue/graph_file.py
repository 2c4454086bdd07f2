"""Whether the links of a saved graph stay inside it.

usearch compares the lengths of a file with what its head says, but follows the links between nodes unseen: one that
leads outside reads foreign memory and kills the process. So all are looked at before a file is mapped.

The layout is that of usearch's format 2, little-endian: two uint32 with the rows and the bytes of a row of a matrix of
vectors, and the matrix; 64 bytes that begin with ``usearch`` and the major version; five uint64, namely the nodes, the
most links of a node on higher levels and on the lowest, the highest level, and the node where searches begin; the
int16 level of each node; and the nodes. A node is its uint64 key, its level, and for each level from the lowest the
uint32 number of its links and room for the most of them.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flanrec.errors import CheckpointError

Bytes = NDArray[np.uint8]

_MATRIX = struct.Struct("<2I")
_HEAD = struct.Struct("<7sH55x")
_COUNTS = struct.Struct("<5Q")
_NODE = 10
_AT_ONCE = 50_000


def in_known_format(path: Path, items: int) -> bool:
    """Whether a file is a graph in usearch's format 2; if so, all of it was checked.

    Parameters
    ----------
    path : Path
    items : int
        The nodes it must have, with the keys from 0 on.

    Raises
    ------
    CheckpointError
        It is in the format, but not of so many items, or some link leads outside the graph.
    """
    if not path.is_file() or path.stat().st_size < _MATRIX.size:
        return False
    data: Bytes = np.memmap(path, np.uint8, "r")
    rows, row = _MATRIX.unpack(data[: _MATRIX.size].tobytes())
    head = _MATRIX.size + rows * row
    counts = head + _HEAD.size
    at = counts + _COUNTS.size
    if len(data) < at or _HEAD.unpack(data[head:counts].tobytes()) != (b"usearch", 2):
        return False
    nodes, links, lowest, top, entry = _COUNTS.unpack(data[counts:at].tobytes())
    inside = (
        rows == nodes == items
        and links <= lowest <= len(data)
        and entry < nodes
        and len(data) - at >= 2 * nodes
        and _stay_inside(data[at + 2 * nodes :], data[at : at + 2 * nodes].view("<i2"), (lowest, links), top, entry)
    )
    if not inside:
        raise CheckpointError(f"{path} is not a graph of {items:,} items that stays inside itself; save it again")
    return True


def _stay_inside(body: Bytes, levels: NDArray[np.int16], room: tuple[int, int], top: int, entry: int) -> bool:
    lowest, higher = room
    first, further = 4 * (1 + lowest), 4 * (1 + higher)
    if levels.min() < 0 or levels.max() != top or levels[entry] != top:
        return False
    sizes = _NODE + first + levels.astype(np.int64) * further
    if sizes.sum() != len(body):
        return False
    starts = np.cumsum(sizes) - sizes
    keys = _rows(body, starts, 8).view("<u8")[:, 0]
    own = _rows(body, starts + 8, 2).view("<i2")[:, 0]
    if not np.array_equal(np.sort(keys), np.arange(len(levels))) or not np.array_equal(own, levels):
        return False
    for level in range(top + 1):
        bearing = np.flatnonzero(levels >= level)
        at = starts[bearing] + _NODE + (first + (level - 1) * further if level else 0)
        for begin in range(0, len(at), _AT_ONCE):
            lists = _rows(body, at[begin : begin + _AT_ONCE], further if level else first).view("<u4")
            counts, linked = lists[:, :1], lists[:, 1:]
            linked = linked[np.arange(linked.shape[1]) < counts]
            if counts.max() > lists.shape[1] - 1 or linked.max(initial=0) >= len(levels):
                return False
            if level and (levels[linked] < level).any():
                return False
    return True


def _rows(body: Bytes, at: NDArray[np.int64], width: int) -> NDArray[Any]:
    """The bytes from each position on: uint8 [n, width]."""
    return np.lib.stride_tricks.sliding_window_view(body, width)[at]
