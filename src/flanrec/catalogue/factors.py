"""Item vectors from the log alone: which item follows which, as a low-rank factorisation.

They are where the item tokens start from, so that tuning begins at a fair recommender and not at noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flanrec.data.sequences import Sequences


@dataclass(frozen=True)
class TransitionFactors:
    """Factors whose product says how much likelier item ``j`` is after item ``i`` than on the whole.

    Attributes
    ----------
    before
        float32 [n_items, rank], of the item that was chosen.
    after
        float32 [n_items, rank], of the item that may follow; ``before[i] @ after[j]`` is a log ratio.
    log_share
        float32 [n_items], log of each item's share of all events, with one event added to every item.
    """

    before: Tensor
    after: Tensor
    log_share: Tensor


def log_share(sequences: Sequences) -> Tensor:
    """Log of each item's share of all events, one event added to every item: float32 [n_items]."""
    counts = np.bincount(sequences.items, minlength=len(sequences.item_ids)).astype(np.float64) + 1
    return torch.tensor(np.log(counts / counts.sum()), dtype=torch.float32)


def transition_factors(
    sequences: Sequences, rank: int, *, window: int = 3, damping: float = 50.0, seed: int = 0
) -> TransitionFactors:
    """Factorise the log ratio of item transitions.

    An event ``d`` places after another counts ``1 / d``, up to `window` places. With ``T[i, j]`` the sum of
    these counts and ``p[j]`` the share of item ``j``, the factorised matrix is ``log(1 + T[i, j] / (damping
    * p[j]))``, which is the log ratio of the damped transition probability to ``p[j]`` up to a constant of
    each row, and zero wherever ``T`` is; the columns are weighted by ``sqrt(p)`` (compare Levy and Goldberg,
    "Neural Word Embedding as Implicit Matrix Factorization", 2014).

    Parameters
    ----------
    rank
        Columns of the factors; cut to the number of items where that is less.
    damping
        How many events of evidence the overall shares weigh against an item's own transitions.

    Returns
    -------
    TransitionFactors
        Zero for items without any transition.
    """
    n_items = len(sequences.item_ids)
    share = log_share(sequences)
    columns = max(1, min(rank, n_items))
    if n_items == 0:
        return TransitionFactors(torch.zeros(0, columns), torch.zeros(0, columns), share)
    before, after, counts = _transitions(sequences, window)
    weights = share.exp().double()
    values = torch.log1p(torch.from_numpy(counts) / (damping * weights[torch.from_numpy(after)]))
    values = (values * weights[torch.from_numpy(after)].sqrt()).float()
    places = torch.from_numpy(np.stack([before, after]))
    matrix = torch.sparse_coo_tensor(places, values, (n_items, n_items), check_invariants=True).coalesce()
    left, singular, right = _truncated_svd(matrix, columns, seed)
    return TransitionFactors(left * singular.sqrt(), right * singular.sqrt() / weights.float().sqrt()[:, None], share)


def _transitions(sequences: Sequences, window: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The pairs (before, after) of items with their summed counts."""
    users = np.repeat(np.arange(len(sequences)), np.diff(sequences.offsets))
    keys, counts = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    n_items = len(sequences.item_ids)
    for distance in range(1, window + 1):
        same = users[:-distance] == users[distance:] if len(users) > distance else np.zeros(0, dtype=bool)
        pairs = sequences.items[:-distance][same] * n_items + sequences.items[distance:][same]
        keys.append(pairs)
        counts.append(np.full(len(pairs), 1 / distance))
    distinct, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    summed = np.bincount(inverse, weights=np.concatenate(counts), minlength=len(distinct))
    return distinct // n_items, distinct % n_items, summed.astype(np.float64)


def _truncated_svd(matrix: Tensor, rank: int, seed: int, iterations: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Randomised singular value decomposition of a sparse square matrix (Halko et al., 2011)."""
    size = matrix.shape[0]
    generator = torch.Generator().manual_seed(seed)
    width = min(size, rank + 16)
    basis = torch.linalg.qr(torch.sparse.mm(matrix, torch.randn(size, width, generator=generator)))[0]
    transposed = matrix.t().coalesce()
    for _ in range(iterations):
        basis = torch.linalg.qr(torch.sparse.mm(transposed, basis))[0]
        basis = torch.linalg.qr(torch.sparse.mm(matrix, basis))[0]
    small = torch.sparse.mm(transposed, basis)
    right, singular, left = torch.linalg.svd(small, full_matrices=False)
    return (basis @ left.t())[:, :rank], singular[:rank], right[:, :rank]


def rotation(rank: int, width: int, seed: int = 0) -> Tensor:
    """Orthonormal rows that spread `rank` factors over `width` >= `rank` coordinates: float32 [rank, width]."""
    generator = torch.Generator().manual_seed(seed)
    square: Tensor = torch.linalg.qr(torch.randn(width, width, generator=generator))[0]
    return square[:rank]
