"""How good probabilities of a yes are: do they order the pairs, and do they mean what they say.

``labels`` is ``[n]`` of 0/1 or bool, ``probabilities`` ``[n]`` in [0, 1] (any finite score for the AUCs).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from flanrec.errors import DataError, SettingsError
from flanrec.metrics.lists import FloatArray

DEFINITIONS = MappingProxyType(
    {
        "auc": "probability that a random yes scores above a random no over all pairs, a tie counting one half",
        "user_auc": "AUC within one user's pairs, averaged over users who have both a yes and a no",
        "expected_calibration_error": (
            "mean over pairs of |share of yes - mean probability| of the pair's bin, 10 bins of equal width"
        ),
        "brier": "mean of (probability - label)^2",
        "log_loss": "mean of -ln(probability given to the true label), probabilities kept 1e-15 away from 0 and 1",
    }
)


@dataclass(frozen=True)
class CalibrationBin:
    """One bin of a reliability diagram: probabilities in [low, high), the last bin closed."""

    low: float
    high: float
    pairs: int
    mean_probability: float
    yes_rate: float


def auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the area under the ROC curve by the rank-sum statistic; NaN unless both labels occur.

    Examples
    --------
    >>> auc([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8])
    0.875
    """
    yes, values = _pairs(labels, scores)
    return float(auc_by_user(np.zeros(len(yes), dtype=np.int64), yes, values)[0]) if len(yes) else float("nan")


def auc_by_user(users: npt.ArrayLike, labels: npt.ArrayLike, scores: npt.ArrayLike) -> FloatArray:
    """Return the AUC within each user, in the order of ``numpy.unique(users)``; NaN unless both labels occur.

    Parameters
    ----------
    users
        ``[n]`` user of each pair, of any sortable type.
    """
    yes, values = _pairs(labels, scores)
    names = np.asarray(users)
    if names.shape != yes.shape:
        raise DataError(f"users must have one entry a pair: got {len(names)} users for {len(yes)} pairs")
    if len(yes) == 0:
        return np.zeros(0)
    _, user = np.unique(names, return_inverse=True)
    order = np.lexsort((values, user))
    user, values, yes = user[order], values[order], yes[order]
    sizes = np.bincount(user)
    starts = np.cumsum(sizes) - sizes
    # Ranks from 1 within the user; tied scores share the mean of the ranks that they span.
    new_group = np.append(True, (user[1:] != user[:-1]) | (values[1:] != values[:-1]))
    group = np.cumsum(new_group) - 1
    first = np.flatnonzero(new_group)
    last = np.append(first[1:], len(yes)) - 1
    ranks = (first[group] + last[group]) / 2.0 - starts[user] + 1.0
    positives = np.bincount(user, weights=yes)
    negatives = sizes - positives
    wins = np.bincount(user, weights=ranks * yes) - positives * (positives + 1) / 2.0
    result = np.full(len(sizes), np.nan)
    np.divide(wins, positives * negatives, out=result, where=(positives > 0) & (negatives > 0))
    return result


def user_auc(users: npt.ArrayLike, labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the mean of `auc_by_user` over the users who have both labels; NaN when there is none."""
    values = auc_by_user(users, labels, scores)
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def calibration_bins(labels: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 10) -> list[CalibrationBin]:
    """Return the filled bins of the reliability diagram, low to high, with bins of equal width over [0, 1].

    A probability on an inner edge belongs to the bin above it, 1.0 to the last bin. Empty bins are left out.
    """
    if bins < 1:
        raise SettingsError(f"bins must be at least 1, got {bins}")
    yes, values = _pairs(labels, probabilities, bounded=True)
    edges = np.arange(bins + 1) / bins
    place = np.searchsorted(edges[1:-1], values, side="right")
    counts = np.bincount(place, minlength=bins)
    sums = np.bincount(place, weights=values, minlength=bins)
    positives = np.bincount(place, weights=yes, minlength=bins)
    return [
        CalibrationBin(
            low=float(edges[b]),
            high=float(edges[b + 1]),
            pairs=int(counts[b]),
            mean_probability=float(sums[b] / counts[b]),
            yes_rate=float(positives[b] / counts[b]),
        )
        for b in np.flatnonzero(counts)
    ]


def expected_calibration_error(labels: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = 10) -> float:
    """Return the gap between stated and observed yes rates, averaged over pairs; NaN without pairs.

    Bins have equal width over [0, 1] (see `calibration_bins`) and count by the pairs in them.

    References
    ----------
    Guo et al., "On calibration of modern neural networks", ICML 2017, equation 3.

    Examples
    --------
    >>> round(expected_calibration_error([1, 0, 1, 1], [0.75, 0.75, 0.75, 0.75]), 6)
    0.0
    """
    filled = calibration_bins(labels, probabilities, bins)
    pairs = sum(b.pairs for b in filled)
    if pairs == 0:
        return float("nan")
    return float(sum(b.pairs * abs(b.yes_rate - b.mean_probability) for b in filled) / pairs)


def brier(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Return the mean squared difference of probability and label; NaN without pairs."""
    yes, values = _pairs(labels, probabilities, bounded=True)
    return float(np.mean((values - yes) ** 2)) if len(yes) else float("nan")


def log_loss(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Return the mean negative natural logarithm of the probability given to the true label; NaN without pairs.

    Probabilities are kept 1e-15 away from 0 and 1, so that one certain mistake costs about 34.5 and not infinity.
    """
    yes, values = _pairs(labels, probabilities, bounded=True)
    if len(yes) == 0:
        return float("nan")
    given = np.clip(np.where(yes > 0, values, 1.0 - values), 1e-15, 1.0 - 1e-15)
    return float(np.mean(-np.log(given)))


def _pairs(labels: npt.ArrayLike, scores: npt.ArrayLike, bounded: bool = False) -> tuple[FloatArray, FloatArray]:
    yes, values = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if yes.ndim != 1 or yes.shape != values.shape:
        raise DataError(f"labels and scores must be two lists of one length, got shapes {yes.shape} and {values.shape}")
    if not bool(np.all((yes == 0) | (yes == 1))):
        raise DataError("labels must be 0 or 1; turn ratings into a yes or no first, such as rating >= 4")
    if not bool(np.all(np.isfinite(values))):
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(f"score of pair {row} is {values[row]}; every pair needs a finite score")
    if bounded and len(values) and (values.min() < 0 or values.max() > 1):
        row = int(np.flatnonzero((values < 0) | (values > 1))[0])
        raise DataError(f"probability of pair {row} is {values[row]}, outside [0, 1]; give probabilities, not logits")
    return yes, values
