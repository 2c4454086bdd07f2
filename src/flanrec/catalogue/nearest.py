"""The items of highest score among a million: exact where that is fast, else by a graph of neighbours.

A score is the product of a user's state and an item's vector. Of many items most can be left out unseen: a graph over
shortened vectors (usearch, extra ``fast``) names some hundreds that may be the best, and these are scored in full. So
what comes out has its exact score, and only whether it comes out is approximate; :meth:`ItemIndex.recall` says how far.

References
----------
Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical navigable small world
graphs", 2018. Bachrach et al., "Speeding up the Xbox recommender system using a Euclidean transformation for
inner-product spaces", 2014.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from flanrec.errors import SettingsError
from flanrec.metrics import top_k

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


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


class ItemIndex:
    """Items by their vectors.

    Parameters
    ----------
    vectors : float32 [n_items, width]
        See :meth:`ItemTokens.outputs`.
    bias : float32 [n_items]
        Added to each item's product.
    asked : float32 [n, width], optional
        States of some users. Most directions in which items differ matter to no user: the shortened vectors keep
        those in which the products with these states do.
    settings : IndexSettings
    threads : int
        For building and searching; 0 for as many as torch has.

    Raises
    ------
    SettingsError
        The catalogue is too large to be scored whole, and the extra is not installed.
    """

    def __init__(
        self,
        vectors: Floats,
        bias: Floats,
        asked: Floats | None = None,
        settings: IndexSettings | None = None,
        *,
        threads: int = 0,
    ) -> None:
        self.settings = settings or IndexSettings()
        self.vectors, self.bias = np.ascontiguousarray(vectors, dtype=np.float32), np.asarray(bias, dtype=np.float32)
        self._threads = threads or torch.get_num_threads()
        self._graph: Any = None
        if len(vectors) > self.settings.exact_below:
            self._build(np.eye(vectors.shape[1], dtype=np.float32) if asked is None else asked)

    def _build(self, asked: Floats) -> None:
        settings = self.settings
        try:
            from usearch.index import Index
        except ImportError as problem:
            raise SettingsError(
                f"{len(self.vectors):,} items are too many to score them all; pip install 'flanrec[fast]' for usearch, "
                "or raise exact_below"
            ) from problem
        rng = np.random.default_rng(settings.seed)
        sample = self.vectors[rng.choice(len(self.vectors), min(len(self.vectors), 20_000), replace=False)]
        self._of_items, self._of_states = _axes(sample, asked, settings.width)
        short = np.column_stack([self.vectors @ self._of_items, self.bias])
        # With a column that makes all of one length, the largest product is the nearest vector, which graphs are for.
        lengths = np.square(short).sum(axis=1)
        short = np.column_stack([short, np.sqrt(np.maximum(lengths.max() - lengths, 0.0))]).astype(np.float32)
        # The last column is long, and differences are small beside it: not for half precision.
        self._graph = Index(
            ndim=short.shape[1], metric="ip", dtype="f32", connectivity=settings.connectivity,
            expansion_add=settings.build_effort, expansion_search=max(settings.search_effort, settings.candidates),
        )  # fmt: skip
        self._graph.add(np.arange(len(short)), short, threads=self._threads)

    @property
    def exact(self) -> bool:
        """Whether every item is scored."""
        return self._graph is None

    def top(self, states: Floats, k: int, excluded: Sequence[Ints] | None = None) -> tuple[Ints, Floats]:
        """The ``k`` items of highest score for each user.

        Parameters
        ----------
        states : float32 [n_users, width]
        k : int
        excluded : of each user, catalogue indices that must not come, optional

        Returns
        -------
        items : int64 [n_users, k]
            Best first, equal scores by rising index; -1 where there is no further one.
        scores : float32 [n_users, k]
            The products with the bias; -inf where there is no item.
        """
        closed = [np.zeros(0, dtype=np.int64)] * len(states) if excluded is None else list(excluded)
        if self.exact:
            return self._whole(states, k, closed)
        items = np.full((len(states), k), -1, dtype=np.int64)
        scores = np.full((len(states), k), -np.inf, dtype=np.float32)
        for user, (state, found) in enumerate(zip(states, self._candidates(states, k, closed), strict=True)):
            open_ = np.setdiff1d(found, closed[user])
            values = self.vectors[open_] @ state + self.bias[open_]
            order = np.argsort(-values, kind="stable")[:k]
            items[user, : len(order)], scores[user, : len(order)] = open_[order], values[order]
        return items, scores

    def recall(self, states: Floats, k: int) -> float:
        """Mean share of each user's true ``k`` best items that :meth:`top` finds."""
        found, _ = self.top(states, k)
        nothing = [np.zeros(0, dtype=np.int64)] * len(states)
        best, _ = self._whole(states, k, nothing)
        return float(np.mean([np.isin(one, other).mean() for one, other in zip(best, found, strict=True)]))

    def _whole(self, states: Floats, k: int, closed: Sequence[Ints]) -> tuple[Ints, Floats]:
        scores = (torch.from_numpy(states) @ torch.from_numpy(self.vectors).T + torch.from_numpy(self.bias)).numpy()
        for user, items in enumerate(closed):
            scores[user, items] = -np.inf
        found, values = top_k(scores, k)
        return found, values.astype(np.float32)

    def _candidates(self, states: Floats, k: int, closed: Sequence[Ints]) -> list[Ints]:
        """Items of each user that may be among the best."""
        most = max((len(items) for items in closed), default=0)
        count = min(len(self.vectors), max(self.settings.candidates, k) + most)
        ones, zeros = np.ones((len(states), 1)), np.zeros((len(states), 1))
        asked = np.column_stack([states @ self._of_states, ones, zeros]).astype(np.float32)
        found = self._graph.search(asked, count, threads=self._threads)
        keys = np.asarray(found.keys, dtype=np.int64).reshape(len(states), -1)
        # A row that found fewer is filled up; of one user alone there is no row.
        counts = [keys.shape[1]] if len(states) == 1 else [int(n) for n in found.counts]
        return [row[:n] for row, n in zip(keys, counts, strict=True)]


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
