"""Which of some candidates comes next: who is offered, and how it is asked."""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.people import Person
from flanrec.catalogue.prompter import Prompter
from flanrec.instructions import Task, tasks

CANDIDATES = 8
"""How many are offered."""


def offered_items(
    titles: Sequence[str], shares: NDArray[np.float64], target: int, seen: Container[int], rng: np.random.Generator,
    count: int = CANDIDATES,
) -> list[int]:  # fmt: skip
    """The target among items that the user has not seen, drawn by popularity, no title twice.

    Parameters
    ----------
    titles
        By catalogue index.
    shares
        float64 [n_items], how often each is drawn, adding up to one.

    Returns
    -------
    list of int
        Catalogue indices in the order they are offered, `count` of them where there are so many.
    """
    drawn = rng.choice(len(shares), size=min(4 * count, int((shares > 0).sum())), p=shares, replace=False)
    by_title: dict[str, int] = {}
    for item in drawn.tolist():
        if item not in seen:
            by_title.setdefault(titles[item], item)
    by_title.pop(titles[target], None)
    others = list(by_title.values())[: count - 1]
    others.insert(int(rng.integers(len(others) + 1)), target)
    return others


def pick_task(prompter: Prompter, person: Person, offered: Sequence[int], target: int) -> Task:
    """Which of the items offered comes next after a history, half as many titles of which are told as elsewhere."""
    titles = prompter.catalogue.titles
    history = [titles[item] for item in person.items[max(0, len(person.items) - prompter.titles // 2) :]]
    return tasks.pick(
        [titles[item] for item in offered], titles[target], history=history, noun=prompter.noun, nouns=prompter.nouns
    )
