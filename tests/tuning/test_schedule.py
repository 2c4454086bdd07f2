from __future__ import annotations

import pytest
import torch

from flanrec.tuning.schedule import rate_factor


def course(schedule: str, steps: int, warmup: float) -> list[float]:
    return [rate_factor(schedule, step, steps, warmup) for step in range(1, steps + 1)]  # type: ignore[arg-type]


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_rises_in_a_line_to_one_at_the_end_of_the_warmup(schedule: str) -> None:
    assert course(schedule, 20, 0.25)[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize("schedule", ["linear", "cosine", "one_cycle", "constant"])
@pytest.mark.parametrize("warmup", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 17])
def test_every_step_moves_and_none_is_faster_than_the_set_rate(schedule: str, warmup: float, steps: int) -> None:
    assert all(0 < factor <= 1 for factor in course(schedule, steps, warmup))


def test_linear_and_cosine_fall_from_one_and_meet_halfway() -> None:
    assert course("linear", 10, 0.0) == pytest.approx([1 - step / 10 for step in range(10)])
    assert course("cosine", 10, 0.0)[5] == pytest.approx(0.5)


def test_one_cycle_is_close_to_that_of_torch() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    oracle = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1.0, total_steps=1000, pct_start=0.3)
    theirs = []
    for _ in range(1000):
        theirs.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        oracle.step()
    # torch counts both ends of each half, so that its course is one step off.
    assert course("one_cycle", 1000, 0.3) == pytest.approx(theirs, abs=0.006)
