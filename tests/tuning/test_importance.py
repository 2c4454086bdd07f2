"""What matters in a search, where it is known what does."""

from __future__ import annotations

import numpy as np
import pytest

from flanrec.tuning.importance import ENOUGH, importances
from flanrec.tuning.space import Choices, Range, Value
from flanrec.tuning.study import Trial

SPACE = {
    "strong": Range(0.0, 1.0),
    "weak": Range(0.0, 1.0),
    "method": Choices(("full", "lora")),
    "rank": Range(1, 64, whole=True, when={"method": ("lora",)}),
}


def trials(count: int) -> list[Trial]:
    """Random choices, of which one decides nearly all."""
    rng = np.random.default_rng(3)
    made = []
    for number in range(count):
        strong, weak = rng.random(2)
        values: dict[str, Value] = {"strong": float(strong), "weak": float(weak), "method": "full"}
        if rng.random() < 0.5:
            values |= {"method": "lora", "rank": int(rng.integers(1, 65))}
        made.append(Trial(number, values, (strong + 0.01 * weak,), 1.0))
    return made


def test_what_decides_matters_most_and_the_shares_add_up_to_one() -> None:
    shares = importances(SPACE, trials(60))
    assert next(iter(shares)) == "strong"
    assert shares["strong"] > 2 * shares["weak"]
    assert sum(shares.values()) == pytest.approx(1)
    assert {"strong", "weak", "method"} <= set(shares) <= set(SPACE)


def test_of_few_measured_trials_nothing_is_said() -> None:
    enough = trials(ENOUGH)
    assert importances(SPACE, enough)
    failed = Trial(ENOUGH - 1, enough[-1].values, (), 1.0, problem="does not work")
    assert importances(SPACE, [*enough[:-1], failed]) == {}


def test_a_start_outside_of_the_space_counts_by_what_lies_inside() -> None:
    first, *rest = trials(12)
    outside = Trial(0, {**first.values, "strong": 7.5}, first.per_user, 1.0)
    assert "strong" in importances(SPACE, [outside, *rest])
