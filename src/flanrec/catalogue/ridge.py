"""What was learnt of some items, continued to others by what they have in common."""

from __future__ import annotations

import torch
from torch import Tensor


def ridge_estimates(features: Tensor, known: Tensor, touched: Tensor, counts: Tensor, strength: float) -> Tensor:
    """Ridge regression from features onto what is known, each touched item weighted by the square root of its events.

    Parameters
    ----------
    features
        float32 [n_items, n_features], of all items.
    known
        float32 [n_items, n_values], to be trusted where an item is touched.
    touched
        bool [n_items], at least one.
    counts
        float32 [n_items], events of each item.
    strength
        Of the penalty; it grows with the mean weight and the root of the number of features.

    Returns
    -------
    Tensor
        float32 [n_untouched, n_values], in the order of the items.
    """
    weight = counts[touched].sqrt()[:, None]
    mean = (known[touched] * weight).sum(0) / weight.sum()
    x, y = features[touched] * weight.sqrt(), (known[touched] - mean) * weight.sqrt()
    penalty = strength * float(weight.mean()) * torch.eye(x.shape[1], device=x.device)
    solution = torch.linalg.solve(x.t() @ x + penalty * x.shape[1] ** 0.5, x.t() @ y)
    estimates: Tensor = features[~touched] @ solution + mean
    return estimates
