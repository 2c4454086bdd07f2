"""Model soups: the weights of several tunings of one model, averaged into one model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
Measure = Callable[[Weights], float]
"""Validation value of a model with these weights; higher is better, nan for none."""


@dataclass(frozen=True)
class Soup:
    """The average of some runs.

    Attributes
    ----------
    name
        ``run 2``, ``uniform soup`` or ``greedy soup of runs 2, 1``, counted from 1.
    members
        Which runs, counted from 0.
    weights
        Their average.
    value
        What validation says of it.
    """

    name: str
    members: tuple[int, ...]
    weights: Weights
    value: float


@torch.no_grad()
def averaged(runs: Sequence[Weights]) -> dict[str, Tensor]:
    """The mean of each weight over runs of one model, summed in float32, in the number format that it has.

    All must begin from the same weights: only then are they likely to lie where the loss between them is low.
    """
    return {
        name: torch.stack([run[name].float() for run in runs]).mean(dim=0).to(value.dtype)
        for name, value in runs[0].items()
    }


def greedy_soup(runs: Sequence[Weights], measure: Measure, values: Sequence[float] | None = None) -> Soup:
    """Average runs from the best one down, leaving out those that make the average worse.

    The result is never below the best single run, as `measure` sees both.

    Parameters
    ----------
    values
        What `measure` says of each run, where it was asked already.

    References
    ----------
    Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
    inference time", 2022, recipe 1.
    """
    told = [measure(run) for run in runs] if values is None else list(values)
    order = sorted(range(len(runs)), key=lambda at: (-_comparable(told[at]), at))
    members: tuple[int, ...] = (order[0],)
    weights, value = runs[order[0]], told[order[0]]
    for at in order[1:]:
        with_it = averaged([runs[member] for member in (*members, at)])
        found = measure(with_it)
        if _comparable(found) >= _comparable(value):
            members, weights, value = (*members, at), with_it, found
    return Soup(f"greedy soup of runs {', '.join(str(at + 1) for at in members)}", members, weights, value)


def best_soup(runs: Sequence[Weights], measure: Measure) -> tuple[Soup, dict[str, float]]:
    """The best of all single runs, their uniform soup and their greedy soup; of equals the first in this order.

    Returns
    -------
    best : Soup
    values : dict
        What validation says of each candidate, by its name.
    """
    single = [Soup(f"run {at + 1}", (at,), run, measure(run)) for at, run in enumerate(runs)]
    candidates = single
    if len(runs) > 1:
        whole = averaged(runs)
        candidates = [*single, Soup("uniform soup", tuple(range(len(runs))), whole, measure(whole)),
                      greedy_soup(runs, measure, [one.value for one in single])]  # fmt: skip
    best = max(candidates, key=lambda one: _comparable(one.value))
    return best, {one.name: one.value for one in candidates}


def _comparable(value: float) -> float:
    return -math.inf if math.isnan(value) else value
