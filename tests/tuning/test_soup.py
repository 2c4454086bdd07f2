"""Model soups on weights whose best average is known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from flanrec.tuning.soup import Weights, averaged, best_soup, greedy_soup

numbers = st.floats(-10, 10, allow_nan=False)
runs_of = st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=5)


def weights(values: list[float]) -> dict[str, Tensor]:
    return {"a": torch.tensor(values[:2]), "b": torch.tensor(values[2:])}


def nearness(target: list[float]) -> object:
    """Higher the nearer weights are to some others."""
    goal = weights(target)
    return lambda given: -sum(float((given[name] - goal[name]).square().sum()) for name in goal)


@given(values=st.lists(numbers, min_size=3, max_size=3), count=st.integers(1, 6))
def test_the_soup_of_equal_models_is_that_model(values: list[float], count: int) -> None:
    run = weights(values)
    for name, value in averaged([run] * count).items():
        torch.testing.assert_close(value, run[name])


def test_an_average_is_taken_in_float32_and_keeps_the_number_format() -> None:
    runs = [{"w": torch.tensor([1.0, 256.0], dtype=torch.bfloat16)}, {"w": torch.tensor([2.0, 258.0]).bfloat16()},
            {"w": torch.tensor([3.0, 260.0]).bfloat16()}]  # fmt: skip
    found = averaged(runs)["w"]
    assert found.dtype == torch.bfloat16
    assert found.tolist() == [2.0, 258.0]
    assert runs[0]["w"].tolist() == [1.0, 256.0]


@given(runs=runs_of, target=st.lists(numbers, min_size=3, max_size=3))
def test_a_greedy_soup_is_never_below_the_best_single_run(runs: list[list[float]], target: list[float]) -> None:
    measure = nearness(target)
    mixed = [weights(run) for run in runs]
    soup = greedy_soup(mixed, measure)  # type: ignore[arg-type]
    singles = [measure(run) for run in mixed]  # type: ignore[operator]
    assert soup.value >= max(singles)
    assert soup.value == measure(soup.weights)  # type: ignore[operator]
    assert singles[soup.members[0]] == max(singles)
    best, values = best_soup(mixed, measure)  # type: ignore[arg-type]
    assert best.value == max(values.values())


def test_a_greedy_soup_takes_what_helps_and_leaves_out_what_does_not() -> None:
    mixed = [weights([0.0, 0.0, 9.0]), weights([1.0, 0.0, 0.0]), weights([-1.1, 0.0, 0.0])]
    soup = greedy_soup(mixed, nearness([0.0, 0.0, 0.0]))  # type: ignore[arg-type]
    assert soup.members == (1, 2)
    assert soup.name == "greedy soup of runs 2, 3"
    torch.testing.assert_close(soup.weights["a"], torch.tensor([-0.05, 0.0]))


def test_the_best_of_all_is_kept_and_what_each_had_is_told() -> None:
    opposite = [weights([1.0, 0.0, 0.0]), weights([-1.0, 0.0, 0.0])]
    best, values = best_soup(opposite, nearness([0.0, 0.0, 0.0]))  # type: ignore[arg-type]
    assert best.name == "uniform soup"
    assert values == {"run 1": -1.0, "run 2": -1.0, "uniform soup": 0.0, "greedy soup of runs 1, 2": 0.0}
    best, _ = best_soup(opposite, nearness([1.0, 0.0, 0.0]))  # type: ignore[arg-type]
    assert (best.name, best.members) == ("run 1", (0,))
    best, values = best_soup(opposite[:1], nearness([0.0, 0.0, 0.0]))  # type: ignore[arg-type]
    assert values == {"run 1": -1.0}


def test_runs_without_a_value_are_taken_last() -> None:
    def measure(given: Weights) -> float:
        return math.nan if float(given["a"][0]) > 5 else -abs(float(given["a"][0]))

    mixed = [weights([9.0, 0.0, 0.0]), weights([1.0, 0.0, 0.0])]
    assert greedy_soup(mixed, measure).members[0] == 1
    assert best_soup(mixed, measure)[0].value == pytest.approx(-1.0)
