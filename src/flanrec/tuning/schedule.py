"""The course of the learning rate, as a pure function of the step: a resumed run has nothing to restore."""

from __future__ import annotations

import math

from flanrec.tuning.settings import ScheduleName

_ONE_CYCLE_START = 1 / 25
_ONE_CYCLE_END = 1 / 250_000


def rate_factor(schedule: ScheduleName, step: int, steps: int, warmup: float) -> float:
    """Return what the groups' learning rates are multiplied with in one step.

    Parameters
    ----------
    schedule
        After the warm-up, ``linear`` falls in a line towards 0 (the last step is the last above 0),
        ``cosine`` along half a cosine, ``constant`` stays at 1. ``one_cycle`` (Smith and Topin,
        arXiv:1708.07120) rises from 1/25 along a cosine and falls along another to 1/250000.
    step
        The update about to be made, counted from 1.
    steps
        Updates in the whole run.
    warmup
        Share of the steps in which the factor rises to 1. Except for ``one_cycle``, it rises in a line.

    Examples
    --------
    >>> [rate_factor("linear", step, 6, 1 / 3) for step in range(1, 7)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    """
    rising = round(warmup * steps)
    if schedule == "one_cycle":
        return _one_cycle(step, steps, rising)
    if step <= rising:
        return step / rising
    passed, left = step - 1 - rising, steps - rising
    if schedule == "linear":
        return (left - passed) / left
    if schedule == "cosine":
        return _cosine(1.0, 0.0, passed / left)
    return 1.0


def _one_cycle(step: int, steps: int, rising: int) -> float:
    if step <= rising:
        return _cosine(_ONE_CYCLE_START, 1.0, step / rising)
    return _cosine(1.0, _ONE_CYCLE_END, (step - rising) / (steps - rising))


def _cosine(start: float, end: float, share: float) -> float:
    """Half a cosine from `start` at share 0 to `end` at share 1."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
