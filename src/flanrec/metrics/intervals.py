"""How sure a mean over users is: percentile bootstrap intervals, seeded and so the same every time.

Users are what is drawn again, because they are what an evaluation samples. Every draw has as many users as the data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from flanrec.errors import DataError, SettingsError
from flanrec.metrics.lists import FloatArray

_CHUNK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A value with its bootstrap interval; `count` users (or groups) went into it."""

    value: float
    low: float
    high: float
    level: float
    count: int


@dataclass(frozen=True)
class PairedDifference:
    """The mean of a - b over the same users, its interval, and the two-sided bootstrap p-value of no difference."""

    value: float
    low: float
    high: float
    level: float
    count: int
    p_value: float


def bootstrap_interval(values: npt.ArrayLike, seed: int = 42, resamples: int = 2000, level: float = 0.95) -> Interval:
    """Return the mean of one value a user with its percentile bootstrap interval.

    Parameters
    ----------
    values
        ``[n_users]``; NaN values (users without a defined value) are left out and not drawn.
    seed, resamples, level
        Seed of the draws, how many, and the share of the drawn means that the interval holds.

    Returns
    -------
    Interval
        With NaN for everything when no value is defined.

    References
    ----------
    Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 1979.

    Examples
    --------
    >>> interval = bootstrap_interval([0.0, 1.0, 1.0, 0.0, 1.0, float("nan")], seed=1)
    >>> interval.value, interval.count, interval.low < 0.6 < interval.high
    (0.6, 5, True)
    """
    _check(resamples, level)
    defined = _defined(values)
    if len(defined) == 0:
        return Interval(float("nan"), float("nan"), float("nan"), level, 0)
    low, high = _percentiles(_drawn_means(defined, seed, resamples), level)
    return Interval(float(defined.mean()), low, high, level, len(defined))


def paired_bootstrap(
    a: npt.ArrayLike, b: npt.ArrayLike, seed: int = 42, resamples: int = 2000, level: float = 0.95
) -> PairedDifference:
    """Return the mean difference ``a - b`` of two methods on the same users, with interval and p-value.

    Users where either is NaN are left out of both. The p-value is twice the smaller share of drawn differences on one
    side of zero (zero counts for both sides, and the data themselves as one draw), at most 1.

    Raises
    ------
    DataError
        When a and b do not have one value for each of the same users.
    """
    _check(resamples, level)
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise DataError(
            f"a paired comparison needs one value a user from both methods, got shapes {first.shape} and {second.shape}"
        )
    difference = _defined(first - second)
    if len(difference) == 0:
        nan = float("nan")
        return PairedDifference(nan, nan, nan, level, 0, nan)
    drawn = _drawn_means(difference, seed, resamples)
    low, high = _percentiles(drawn, level)
    smaller = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p_value = min(1.0, 2.0 * (smaller + 1) / (resamples + 1))
    return PairedDifference(float(difference.mean()), low, high, level, len(difference), p_value)


def bootstrap_statistic(
    statistic: Callable[[npt.NDArray[np.int64]], float],
    groups: npt.ArrayLike,
    seed: int = 42,
    resamples: int = 500,
    level: float = 0.95,
) -> Interval:
    """Return a statistic that is no mean over users, such as a pooled AUC, with its percentile bootstrap interval.

    Parameters
    ----------
    statistic
        Called with row numbers, ``int64[m]``, some of them several times; returns the statistic of those rows.
        Draws for which it is NaN are left out of the interval.
    groups
        ``[n]`` user of each row. Users are drawn, and bring all their rows, since the rows of one user are alike.
    """
    _check(resamples, level)
    names = np.asarray(groups)
    if len(names) == 0:
        return Interval(float("nan"), float("nan"), float("nan"), level, 0)
    _, group = np.unique(names, return_inverse=True)
    rows = np.argsort(group, kind="stable").astype(np.int64)
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    generator = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for draw in range(resamples):
        chosen = generator.integers(0, len(sizes), len(sizes))
        lengths = sizes[chosen]
        before = np.cumsum(lengths) - lengths
        drawn[draw] = statistic(rows[np.arange(lengths.sum()) + np.repeat(starts[chosen] - before, lengths)])
    low, high = _percentiles(drawn[np.isfinite(drawn)], level)
    return Interval(float(statistic(np.arange(len(names), dtype=np.int64))), low, high, level, len(sizes))


def resampled_means(values: npt.ArrayLike, seed: int = 42, resamples: int = 2000) -> FloatArray:
    """Return means of several methods over the same drawn users, so that their differences are paired draw by draw.

    Parameters
    ----------
    values
        ``[n_users, n_methods]``, all finite.
    seed, resamples
        Of the draws, each of as many users as there are, with replacement.

    Returns
    -------
    float64[resamples, n_methods]
        A method's column depends on its own values alone, whatever stands beside it.

    Raises
    ------
    DataError
        When there are no users, or a value is not finite.

    Examples
    --------
    >>> drawn = resampled_means([[0.0, 0.5], [1.0, 1.5], [0.0, 0.5]], seed=1, resamples=4)
    >>> (drawn[:, 1] - drawn[:, 0]).round(12).tolist()
    [0.5, 0.5, 0.5, 0.5]
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or len(table) == 0 or not bool(np.isfinite(table).all()):
        raise DataError(f"shared draws need a finite value of each method for at least one user, got {table.shape}")
    generator = np.random.default_rng(seed)
    n = len(table)
    means = np.empty((resamples, table.shape[1]))
    # One method at a time, so that the order of additions does not depend on how many there are.
    columns = np.ascontiguousarray(table.T)
    step = max(1, _CHUNK // n)
    for start in range(0, resamples, step):
        stop = min(resamples, start + step)
        # How often each user is drawn is multinomial.
        times = generator.multinomial(n, np.full(n, 1 / n), size=stop - start).astype(np.float64)
        for method, column in enumerate(columns):
            means[start:stop, method] = times @ column / n
    return means


def interval_of(value: float, drawn: FloatArray, count: int, level: float = 0.95) -> Interval:
    """Return a value with the percentile interval of its draws, ``float64[resamples]``."""
    _check(len(drawn), level)
    return Interval(value, *_percentiles(drawn, level), level, count)


def _drawn_means(values: FloatArray, seed: int, resamples: int) -> FloatArray:
    generator = np.random.default_rng(seed)
    n = len(values)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) * 8 < n:
        # Metrics at k take few values: how often each is drawn is multinomial, which is the same bootstrap, cheaper.
        return generator.multinomial(n, counts / n, size=resamples) @ distinct / n
    means = np.empty(resamples)
    step = max(1, _CHUNK // n)
    for start in range(0, resamples, step):
        stop = min(resamples, start + step)
        means[start:stop] = values[generator.integers(0, n, (stop - start, n))].mean(axis=1)
    return means


def _percentiles(drawn: FloatArray, level: float) -> tuple[float, float]:
    if len(drawn) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _defined(values: npt.ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise DataError(f"an interval needs one value a user, got an array of shape {array.shape}")
    if bool(np.any(np.isinf(array))):
        raise DataError(f"value of user row {int(np.flatnonzero(np.isinf(array))[0])} is infinite; no mean exists")
    return array[~np.isnan(array)]


def _check(resamples: int, level: float) -> None:
    if resamples < 1:
        raise SettingsError(f"resamples must be at least 1, got {resamples}")
    if not 0 < level < 1:
        raise SettingsError(f"level must be between 0 and 1, got {level}; 0.95 is usual")
