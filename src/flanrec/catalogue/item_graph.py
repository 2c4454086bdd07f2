"""A graph of neighbours over shortened item vectors: built once, saved, and mapped again.

A saved graph is a folder of its own manifest: the graph as usearch writes it (the shortened vectors and their links),
and beside it how vectors are shortened, with a mark of every item. The vectors themselves follow from a model's
weights and are not in it; by the marks a graph of other vectors is known, and left unused.

References
----------
Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical navigable small world
graphs", 2018. Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean transformation for
inner-product spaces", 2014.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from flanrec.artefact import saving, verify_manifest
from flanrec.catalogue.graph_file import in_known_format
from flanrec.errors import CheckpointError, SettingsError

logger = logging.getLogger(__name__)

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

_KIND = "item_index"
_GRAPH = "graph.usearch"
_COLUMNS = "columns.safetensors"
_BUILDING = {"width", "connectivity", "build_effort", "seed"}
_AT_ONCE = 10_000
_SECONDS_BETWEEN_WORDS = 5.0
_TOLERANCE = 1e-3
"""Of a mark, in standard deviations: what other hardware makes of the same weights differs by 1e-6."""
_MAPPED = os.name != "nt"
"""Windows does not let a folder go whose files are mapped."""


class IndexSettings(BaseModel):
    """Size and care of the search."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    exact_below: int = Field(default=20_000, ge=0)
    """Catalogues up to this size are scored whole."""
    width: int = Field(default=48, ge=1)
    """Columns of the shortened vectors."""
    candidates: int = Field(default=800, ge=1)
    """Items of each user that are scored in full, beside those that are excluded."""
    connectivity: int = Field(default=16, ge=2)
    """Neighbours of each item in the graph."""
    build_effort: int = Field(default=128, ge=1)
    """Items looked at for each new one when the graph is built."""
    search_effort: int = Field(default=2400, ge=1)
    """Items looked at in a search; at least as many as candidates."""
    seed: int = 0
    """Of the sample that the columns are chosen by."""


@dataclass(frozen=True)
class ItemGraph:
    """Names items that may be the best for a state.

    Attributes
    ----------
    of_items, of_states : float32 [width, columns]
        What vectors and states are multiplied with, so that few columns keep most of their products.
    marks : float32 [n_items]
        One number of each item's vector and bias, by which the items are known again.
    settings : IndexSettings
    links
        The `usearch` index.
    """

    of_items: Floats
    of_states: Floats
    marks: Floats
    settings: IndexSettings
    links: Any

    @classmethod
    def build(cls, vectors: Floats, bias: Floats, asked: Floats, settings: IndexSettings, threads: int) -> ItemGraph:
        """Put all items in; what takes more than seconds is told to the log.

        Parameters
        ----------
        vectors, bias, asked
            As `ItemIndex` takes them.

        Raises
        ------
        SettingsError
            The extra is not installed.
        """
        rng = np.random.default_rng(settings.seed)
        sample = vectors[rng.choice(len(vectors), min(len(vectors), 20_000), replace=False)]
        of_items, of_states = _axes(sample, asked, settings.width)
        short = np.column_stack([vectors @ of_items, bias])
        # With a column that makes all of one length, the largest product is the nearest vector, which graphs are for.
        lengths = np.square(short).sum(axis=1)
        short = np.column_stack([short, np.sqrt(np.maximum(lengths.max() - lengths, 0.0))]).astype(np.float32)
        links = _no_links(short.shape[1], settings, len(vectors))
        told = time.monotonic()
        for first in range(0, len(short), _AT_ONCE):
            part = short[first : first + _AT_ONCE]
            links.add(np.arange(first, first + len(part)), part, threads=threads)
            if time.monotonic() - told > _SECONDS_BETWEEN_WORDS:
                told = time.monotonic()
                logger.info("building the graph of items: %d of %d are in", first + len(part), len(short))
        return cls(of_items, of_states, _marks(vectors, bias, settings.seed), settings, links)

    def nearest(self, states: Floats, count: int, threads: int) -> list[Ints]:
        """Up to `count` items of each state, nearest first."""
        ones, zeros = np.ones((len(states), 1)), np.zeros((len(states), 1))
        asked = np.column_stack([states @ self.of_states, ones, zeros]).astype(np.float32)
        found = self.links.search(asked, count, threads=threads)
        keys = np.asarray(found.keys, dtype=np.int64).reshape(len(states), -1)
        # A row that found fewer is filled up; of one user alone there is no row.
        counts = [keys.shape[1]] if len(states) == 1 else [int(n) for n in found.counts]
        return [row[:n] for row, n in zip(keys, counts, strict=True)]

    def save(self, folder: Path) -> None:
        """Write the graph and its columns; all or nothing.

        Raises
        ------
        CheckpointError
            The folder holds files of somebody else.
        """
        shape = [len(self.marks), len(self.of_items)]
        about = {"kind": _KIND, "shape": shape, "built": self.settings.model_dump(include=_BUILDING)}
        with saving(folder, about) as draft:
            self.links.save(draft / _GRAPH)
            save_file(
                {
                    "of_items": np.ascontiguousarray(self.of_items),
                    "of_states": np.ascontiguousarray(self.of_states),
                    "marks": self.marks,
                },
                draft / _COLUMNS,
            )

    @classmethod
    def load(cls, folder: Path, vectors: Floats, bias: Floats, settings: IndexSettings) -> ItemGraph | None:
        """Map a graph that `save` wrote; None where it is of other items, of other settings, or of another usearch.

        The folder may be replaced or deleted while it is mapped: the files last as long as they are used. Where the
        system does not allow that, the graph is read into memory.

        Raises
        ------
        CheckpointError
            The folder is damaged, or holds something else; the message names the file.
        SettingsError
            The extra is not installed.
        """
        about = verify_manifest(folder)
        if about.get("kind") != _KIND:
            raise CheckpointError(f"{folder} holds a {about.get('kind', 'folder')!s}, not an index of items")
        built = settings.model_dump(include=_BUILDING)
        if about.get("shape") != list(vectors.shape) or about.get("built") != built:
            return None
        of_items, of_states, marks = _columns(folder / _COLUMNS, *vectors.shape)
        known = _marks(vectors, bias, settings.seed)
        if not np.allclose(marks, known, rtol=0, atol=_TOLERANCE * float(known.std())):
            return None
        path = folder / _GRAPH
        if not in_known_format(path, len(vectors)):
            return None
        links = _no_links(of_items.shape[1] + 2, settings, len(vectors))
        empty = (links.ndim, links.dtype, links.metric_kind)
        try:
            (links.view if _MAPPED else links.load)(path)
        except (RuntimeError, ValueError) as problem:
            logger.warning("this usearch cannot read %s (%s)", path, problem)
            return None
        if (links.ndim, links.dtype, links.metric_kind) != empty:
            raise CheckpointError(f"{path} does not fit {_COLUMNS} beside it; save the model again")
        return cls(of_items, of_states, marks, settings, links)


def _no_links(columns: int, settings: IndexSettings, items: int) -> Any:
    try:
        from usearch.index import Index
    except ImportError as problem:
        raise SettingsError(
            f"{items:,} items are too many to score them all; pip install 'flanrec[fast]' for usearch, "
            "or raise exact_below"
        ) from problem
    # The last column is long, and differences are small beside it: not for half precision.
    return Index(
        ndim=columns, metric="ip", dtype="f32", connectivity=settings.connectivity,
        expansion_add=settings.build_effort, expansion_search=max(settings.search_effort, settings.candidates),
    )  # fmt: skip


def _marks(vectors: Floats, bias: Floats, seed: int) -> Floats:
    """Each vector seen from one drawn direction, with its bias: float32 [n_items]."""
    direction = np.random.default_rng(seed).standard_normal(vectors.shape[1], dtype=np.float32)
    marks: Floats = (vectors @ direction + bias).astype(np.float32)
    return marks


def _columns(path: Path, items: int, width: int) -> tuple[Floats, Floats, Floats]:
    wrong = f"{path} does not hold the columns of {items:,} items; save the model again"
    try:
        found = load_file(path)
        of_items, of_states, marks = (found[name] for name in ("of_items", "of_states", "marks"))
    except (OSError, KeyError, SafetensorError) as problem:
        raise CheckpointError(wrong) from problem
    shapes = of_items.shape == of_states.shape == (width, of_items.shape[-1]) and marks.shape == (items,)
    if not shapes or {of_items.dtype, of_states.dtype, marks.dtype} != {np.dtype(np.float32)}:
        raise CheckpointError(wrong)
    return of_items, of_states, marks


def _axes(items: Floats, asked: Floats, width: int) -> tuple[Floats, Floats]:
    """What items and states are multiplied with, so that few columns keep most of the products between the two.

    The best such pair comes from the second moments of both: those of the items, seen through the root of the
    states'. A little of every direction is added, for states that are like none of these.
    """
    moments = (asked.T @ asked).astype(np.float64) / len(asked)
    moments += 1e-4 * np.trace(moments) / len(moments) * np.eye(len(moments))
    root = np.linalg.cholesky(moments)
    _, turned = np.linalg.eigh(root.T @ (items.T @ items).astype(np.float64) @ root)
    turned = turned[:, ::-1][:, :width]
    return (root @ turned).astype(np.float32), np.linalg.solve(root.T, turned).astype(np.float32)
