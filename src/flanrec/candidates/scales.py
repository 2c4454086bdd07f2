"""Scores of different sources on comparable scales."""

from __future__ import annotations

import numpy as np

from flanrec.candidates.base import Floats


def standardised(scores: Floats) -> Floats:
    """Zero mean and unit spread over the items of each row, float32 [n_users, n_items]; rows without spread are 0."""
    if not scores.size:
        return scores
    spread = scores.std(axis=1, keepdims=True)
    return np.asarray((scores - scores.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1))


def log_smoothed(scores: Floats, log_shares: Floats, smoothing: float) -> Floats:
    """Log of scores from 0 on, with the items' shares of all events beside them where nothing was seen.

    Parameters
    ----------
    scores
        float32 [n_users, n_items]
    log_shares
        float32 [n_items], logs of the shares.
    smoothing
        Weight of the shares.
    """
    return np.asarray(np.log(scores + smoothing * np.exp(log_shares)))
