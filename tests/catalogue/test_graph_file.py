"""Graphs whose links lead outside are refused before usearch follows them."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest

from flanrec.catalogue.graph_file import in_known_format
from flanrec.errors import CheckpointError

pytestmark = pytest.mark.skipif(importlib.util.find_spec("usearch") is None, reason="the extra 'fast' is not installed")

NODES, WIDTH, LINKS = 900, 6, 4
COUNTS = 8 + 4 * WIDTH * NODES + 64
LEVELS = COUNTS + 40
BODY = LEVELS + 2 * NODES
LOWEST = 10 + 4 * (1 + 2 * LINKS)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    from usearch.index import Index

    path = tmp_path_factory.mktemp("graph") / "graph.usearch"
    graph = Index(ndim=WIDTH, metric="ip", dtype="f32", connectivity=LINKS)
    vectors = np.random.default_rng(0).normal(size=(NODES, WIDTH)).astype(np.float32)
    graph.add(np.arange(NODES), vectors, threads=1)
    graph.save(path)
    return path.read_bytes()


def starts(content: bytes) -> np.ndarray:
    levels = np.frombuffer(content[LEVELS:BODY], "<i2")
    sizes = LOWEST + levels.astype(np.int64) * 4 * (1 + LINKS)
    return BODY + np.cumsum(sizes) - sizes


def test_a_graph_of_usearch_is_known(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "graph.usearch"
    path.write_bytes(content)
    assert starts(content)[-1] + LOWEST <= len(content)
    assert max(np.frombuffer(content[LEVELS:BODY], "<i2")) > 0
    assert in_known_format(path, NODES)


@pytest.mark.parametrize("change", [b"", b"usearch", b"\0" * 500, b"\xff" * 500])
def test_something_else_is_not_known(change: bytes, tmp_path: Path) -> None:
    path = tmp_path / "graph.usearch"
    path.write_bytes(change)
    assert not in_known_format(path, NODES)


def test_another_major_version_is_not_known(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "graph.usearch"
    later = bytearray(content)
    later[COUNTS - 64 + 7] = 3
    path.write_bytes(later)
    assert not in_known_format(path, NODES)


@pytest.mark.parametrize("items", [NODES - 1, NODES + 1])
def test_another_number_of_items_is_refused(content: bytes, tmp_path: Path, items: int) -> None:
    path = tmp_path / "graph.usearch"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"graph\.usearch is not a graph of"):
        in_known_format(path, items)


@pytest.mark.parametrize(
    "where", ["link", "count", "key", "twice", "level", "head", "higher link", "entry", "room", "top", "cut", "longer"]
)
def test_what_leads_outside_is_refused(content: bytes, tmp_path: Path, where: str) -> None:
    at, levels = starts(content), np.frombuffer(content[LEVELS:BODY], "<i2")
    tall, flat = int(np.flatnonzero(levels > 0)[0]), int(np.flatnonzero(levels == 0)[-1])
    changes: dict[str, tuple[int, bytes]] = {
        "link": (at[flat] + 14, struct.pack("<I", NODES)),
        "count": (at[flat] + 10, struct.pack("<I", 2 * LINKS + 1)),
        "key": (at[flat], struct.pack("<Q", 2**40)),
        "twice": (at[flat], struct.pack("<Q", 0)),
        "level": (at[flat] + 8, struct.pack("<h", 1)),
        "head": (LEVELS + 2 * flat, struct.pack("<h", -1)),
        # A node that has no links on that level.
        "higher link": (at[tall] + LOWEST, struct.pack("<2I", 1, flat)),
        "entry": (COUNTS + 32, struct.pack("<Q", NODES)),
        "room": (COUNTS + 8, struct.pack("<2Q", 2**62, 2**62)),
        "top": (COUNTS + 24, struct.pack("<Q", 7)),
        "cut": (len(content), b""),
        "longer": (len(content), b"\0"),
    }
    place, bad = changes[where]
    changed = content[:place] + bad + content[place + len(bad) :]
    path = tmp_path / "graph.usearch"
    path.write_bytes(changed[:-1] if where == "cut" else changed)
    with pytest.raises(CheckpointError, match=r"graph\.usearch is not a graph of 900 items that stays inside itself"):
        in_known_format(path, NODES)
