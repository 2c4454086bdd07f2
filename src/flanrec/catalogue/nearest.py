"""The items of highest score among a million: exact where that is fast, else by a graph of neighbours.

A score is the product of a user's state and an item's vector. Of many items most can be left out unseen: a graph over
shortened vectors (usearch, extra ``fast``) names some hundreds that may be the best, and these are scored in full. So
what comes out has its exact score, and only whether it comes out is approximate; :meth:`ItemIndex.recall` says how far.
Building the graph takes minutes for millions, so it is saved with a model and mapped again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from flanrec.catalogue.item_graph import IndexSettings, ItemGraph
from flanrec.metrics import top_k

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


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
    graph : ItemGraph, optional
        Of these vectors; by default one is built.

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
        graph: ItemGraph | None = None,
    ) -> None:
        self.settings = settings or IndexSettings()
        self.vectors, self.bias = np.ascontiguousarray(vectors, dtype=np.float32), np.asarray(bias, dtype=np.float32)
        self._threads = threads or torch.get_num_threads()
        self._graph = graph
        if graph is None and len(vectors) > self.settings.exact_below:
            asked = np.eye(vectors.shape[1], dtype=np.float32) if asked is None else asked
            self._graph = ItemGraph.build(self.vectors, self.bias, asked, self.settings, self._threads)

    @classmethod
    def load(
        cls,
        folder: Path,
        vectors: Floats,
        bias: Floats,
        settings: IndexSettings | None = None,
        *,
        threads: int = 0,
    ) -> ItemIndex | None:
        """The index whose graph :meth:`save` wrote; None where that graph is of other items or settings.

        Raises
        ------
        CheckpointError
            The folder is damaged; the message names the file.
        SettingsError
            The extra is not installed.
        """
        settings = settings or IndexSettings()
        if len(vectors) <= settings.exact_below:
            return cls(vectors, bias, settings=settings, threads=threads)
        graph = ItemGraph.load(folder, vectors, bias, settings)
        return None if graph is None else cls(vectors, bias, settings=settings, threads=threads, graph=graph)

    def save(self, folder: Path) -> None:
        """Write the graph as a folder; nothing where every item is scored.

        Raises
        ------
        CheckpointError
            The folder holds files of somebody else.
        """
        if self._graph is not None:
            self._graph.save(folder)

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
        if self._graph is None:
            return self._whole(states, k, closed)
        most = max((len(items) for items in closed), default=0)
        count = min(len(self.vectors), max(self.settings.candidates, k) + most)
        candidates = self._graph.nearest(states, count, self._threads)
        items = np.full((len(states), k), -1, dtype=np.int64)
        scores = np.full((len(states), k), -np.inf, dtype=np.float32)
        for user, (state, found) in enumerate(zip(states, candidates, strict=True)):
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
