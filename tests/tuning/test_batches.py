"""Batches: of one seed and step the same, however they are cut and whoever prepares them."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest
import torch
from tiny_run import Run

from flanrec.errors import DataError
from flanrec.tuning import Processes, Weighted
from flanrec.tuning.batches import BatchPlan, batches, resolve_workers

CPU = torch.device("cpu")
LINUX = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="workers are forked on Linux alone")


def plan(batch_size: int, accumulation: int, processes: Processes | None = None, *, apart: bool = False) -> BatchPlan:
    run = Run()
    run.first.apart = run.second.apart = apart
    objectives = [Weighted(run.first, 3.0), Weighted(run.second, 1.0)]
    return BatchPlan(objectives, 7, batch_size, accumulation, processes or Processes())


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize(
    ("batch_size", "accumulation", "count"), [(4, 1, 1), (4, 2, 2), (5, 3, 2), (1, 1, 4), (8, 3, 5)]
)
def test_the_slices_of_all_processes_are_the_batch_each_example_once(
    batch_size: int, accumulation: int, count: int, apart: bool
) -> None:
    chosen, size, whole = plan(batch_size * accumulation, 1, apart=apart).draw(3)
    assert size == len(whole[0]) == batch_size * accumulation
    together = {}
    for rank in range(count):
        same, of_all, mine = plan(batch_size, accumulation, Processes(rank, count), apart=apart).draw(3)
        assert (same, of_all) == (chosen, size)
        assert not set(mine) & set(together)
        together |= mine
    assert [example for number in sorted(together) for example in together[number]] == whole[0]
    assert max(len(some) for some in together.values()) <= batch_size


def test_slices_of_one_process_are_batches_of_the_asked_size() -> None:
    assert [len(some) for some in plan(4, 3).draw(1)[2].values()] == [4, 4, 4]


def test_a_process_draws_no_examples_of_others() -> None:
    found = plan(4, 2, Processes(1, 2), apart=True)
    drawn: list[int] = []
    for weighted in found.objectives:
        usual = weighted.objective.draw

        def draw(rng: np.random.Generator, size: int, usual: Any = usual) -> list[Any]:
            drawn.append(size)
            return list(usual(rng, size))

        weighted.objective.draw = draw  # type: ignore[method-assign]
    found[1]
    assert sum(drawn) == 4


@LINUX
def test_workers_ahead_make_the_same_batches_and_the_same_run() -> None:
    assert list(batches(plan(4, 2), 5, 14, 2, CPU)) == list(batches(plan(4, 2), 5, 14, 0, CPU))
    ahead, alone = Run(workers=2), Run(workers=0)
    assert ahead.trainer().fit().losses == alone.trainer().fit().losses
    assert all(torch.equal(a, b) for a, b in zip(ahead.weights().values(), alone.weights().values(), strict=True))


@LINUX
def test_an_error_of_a_worker_is_told_as_it_is() -> None:
    run = Run(workers=1)

    def draw(rng: np.random.Generator, size: int) -> list[Any]:
        raise DataError("none of the users has two events")

    run.first.draw = run.second.draw = draw  # type: ignore[method-assign]
    with pytest.raises(DataError, match=r"^none of the users has two events$"):
        run.trainer().fit()


@LINUX
def test_workers_outlive_ctrl_c_until_the_step_is_done_and_no_longer() -> None:
    run = Run(workers=2, steps=2000)
    run.first.before_loss = run.second.before_loss = lambda examples: time.sleep(0.01)
    before = set(children())
    begun: list[int] = []

    def press() -> None:
        while len(set(children()) - before) < 2:
            time.sleep(0.01)
        begun.extend(set(children()) - before)
        time.sleep(0.2)
        for pid in [*begun, os.getpid()]:  # as a terminal does
            os.kill(pid, signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    trainer = run.trainer()
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    thread.join()
    assert 0 < trainer.report.steps < 2000
    deadline = time.monotonic() + 10
    while set(begun) & set(children()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not set(begun) & set(children())


def children() -> list[int]:
    """Processes that this one started and that live."""
    found = []
    for task in os.listdir("/proc/self/task"):
        with (
            contextlib.suppress(FileNotFoundError, ProcessLookupError),  # a thread that ended since it was listed
            open(f"/proc/self/task/{task}/children", encoding="ascii") as stream,
        ):
            found += [int(pid) for pid in stream.read().split()]
    return found


def test_without_a_gpu_nothing_is_drawn_ahead_unless_asked() -> None:
    assert resolve_workers(None, CPU) == 0
    if hasattr(os, "sched_getaffinity"):
        assert resolve_workers(2, CPU) == 2
        assert resolve_workers(None, torch.device("cuda")) == max(0, min(6, len(os.sched_getaffinity(0)) - 1))
