"""What people did with the lists that they were shown: by model, and of two models which they preferred."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from flanrec.metrics import Interval, bootstrap_interval
from flanrec.serving.experiments import MIXED
from flanrec.serving.store.shown import Answer


@dataclass(frozen=True)
class ModelRow:
    """The lists of one version of a model.

    Attributes
    ----------
    model
        Its version.
    lists
        How many were shown.
    hit_rate, reciprocal_rank
        Of a list: whether an item of it was met, and one over the place of the first; means over people, each of whom
        counts once, with bootstrap intervals. Lists of nobody who is stored count one by one.
    """

    model: str
    lists: int
    hit_rate: Interval
    reciprocal_rank: Interval


@dataclass(frozen=True)
class Comparison:
    """Two models compared.

    Attributes
    ----------
    kind
        ``split`` or ``interleave``.
    first, second
        What is compared: names of the arms.
    people
        Whom it rests on; for ``interleave`` those who preferred one.
    difference
        Second less first: of the hit rates, or of the shares of people who preferred each.
    low, high
        95 % interval.
    p_value
        Two-sided: Welch's test of the people's hit rates (Fisher's exact test where all of an arm have one), or the
        sign test of whom they preferred.
    """

    kind: str
    first: str
    second: str
    people: int
    difference: float
    low: float
    high: float
    p_value: float


def by_model(answers: Sequence[Answer]) -> list[ModelRow]:
    """A row for each version, the most shown first."""
    groups: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        groups[answer.model].append(answer)
    rows = [
        ModelRow(
            model,
            len(lists),
            bootstrap_interval(list(_people(lists, hits=True).values())),
            bootstrap_interval(list(_people(lists, hits=False).values())),
        )
        for model, lists in groups.items()
    ]
    return sorted(rows, key=lambda row: (-row.lists, row.model))


def compared_split(answers: Sequence[Answer], first: str, second: str) -> Comparison | None:
    """The arms of a split; None while one of them has fewer than two people."""
    arms = [[one for one in answers if one.arm == arm] for arm in (first, second)]
    rates = [np.array(list(_people(lists, hits=True).values())) for lists in arms]
    if min(map(len, rates)) < 2:
        return None
    if rates[0].std() == rates[1].std() == 0:
        # Nobody differs from the others of the arm, so Welch's test has nothing to divide by.
        gap = float(rates[1][0] - rates[0][0])
        by_chance = stats.fisher_exact([[len(rates[0]), 0], [0, len(rates[1])]]).pvalue if gap else 1.0
        return Comparison("split", first, second, sum(map(len, rates)), gap, gap, gap, float(by_chance))
    test = stats.ttest_ind(rates[1], rates[0], equal_var=False)
    span = test.confidence_interval(0.95)
    gap = float(rates[1].mean() - rates[0].mean())
    return Comparison(
        "split", first, second, sum(map(len, rates)), gap, float(span.low), float(span.high), float(test.pvalue)
    )


def compared_mixed(answers: Sequence[Answer], first: str, second: str) -> Comparison | None:
    """The teams of interleaved lists; None while nobody preferred one of them."""
    gained: dict[str, int] = defaultdict(int)
    for number, answer in enumerate(answers):
        if answer.arm.startswith(MIXED):
            teams = answer.arm.removeprefix(MIXED)
            gain = sum(1 if teams[place - 1] == "b" else -1 for place in answer.places if place <= len(teams))
            gained[_who(answer, number)] += gain
    wins, losses = sum(gain > 0 for gain in gained.values()), sum(gain < 0 for gain in gained.values())
    people = wins + losses
    if not people:
        return None
    test = stats.binomtest(wins, people)
    span = test.proportion_ci(0.95, method="wilson")
    return Comparison(
        "interleave", first, second, people, 2 * wins / people - 1, 2 * float(span.low) - 1, 2 * float(span.high) - 1,
        float(test.pvalue),
    )  # fmt: skip


def _people(lists: Sequence[Answer], *, hits: bool) -> dict[str, float]:
    """What each person's lists reached on average."""
    reached: dict[str, list[float]] = defaultdict(list)
    for number, answer in enumerate(lists):
        value = 0.0 if not answer.places else 1.0 if hits else 1.0 / answer.places[0]
        reached[_who(answer, number)].append(value)
    return {who: float(np.mean(values)) for who, values in reached.items()}


def _who(answer: Answer, number: int) -> str:
    return f"user {answer.user_id}" if answer.user_id is not None else f"list {number}"
