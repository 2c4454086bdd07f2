"""The batches of a run, one a step: drawn, cut into slices and prepared, ahead of the model where that pays."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from flanrec.tuning.objective import Objective, Paced, Weighted
from flanrec.tuning.processes import Processes

_AHEAD = 2
"""Batches that each worker keeps ready."""
_MOST_WORKERS = 6


class Slice(NamedTuple):
    """A part of a step's batch that goes through the model at once."""

    number: int
    """Among the slices of the whole batch, those of other processes included."""
    prepared: Any
    """By the objective's `prepare`."""


class Batch(NamedTuple):
    """What one process does of one step."""

    objective: int
    """Index of the objective whose turn it is."""
    examples: int
    """Of the whole batch, those of other processes included."""
    slices: list[Slice]
    """Of this process."""


@dataclass(frozen=True)
class BatchPlan(Dataset[Batch]):
    """Makes the batch of any step, from (seed, step, steps) alone.

    Parameters
    ----------
    objectives
        Each step has one of them, drawn by weight among those that are in turn at its progress.
    seed
        Of the run.
    batch_size, accumulation
        The batch of a step has ``batch_size * accumulation`` examples, whatever the number of processes, and is cut
        into ``accumulation`` slices of equal length, or as many more as give each process the same number.
    processes
        Slice i belongs to process ``i % processes.count``.
    steps
        Of the whole run; only a curriculum needs it.
    """

    objectives: Sequence[Weighted]
    seed: int
    batch_size: int
    accumulation: int
    processes: Processes
    steps: int = 1

    def progress(self, step: int) -> float:
        """How much of the run is done: 0 at the first of several steps, 1 at the last."""
        return min(1.0, (step - 1) / (self.steps - 1)) if self.steps > 1 else 1.0

    def weights(self, step: int) -> NDArray[np.float64]:
        """The chance of each objective to have its turn in a step; they add up to one."""
        progress = self.progress(step)
        found = np.array([one.weight if progress >= one.since else 0.0 for one in self.objectives], dtype=np.float64)
        return np.asarray(found / found.sum())

    def draw(self, step: int) -> tuple[int, int, dict[int, list[Any]]]:
        """The objective of a step, the number of examples of its whole batch, and this process's slices.

        Returns
        -------
        objective
            Its index.
        examples
            0 where the objective has none.
        slices
            Examples by the slice's number; slices without examples are left out.
        """
        rng = np.random.default_rng([self.seed, step])
        chosen = int(rng.choice(len(self.objectives), p=self.weights(step)))
        objective, size = self.objectives[chosen].objective, self.batch_size * self.accumulation
        if objective.apart:
            # Each example follows from its place, so that nobody draws those of others.
            return chosen, size, {
                number: [
                    example
                    for place in places
                    for example in self._drawn(objective, np.random.default_rng([self.seed, step, 1, place]), 1, step)
                ]
                for number, places in self._places(size).items()
            }  # fmt: skip
        together = self._drawn(objective, rng, size, step)
        places_of = self._places(len(together)).items()
        return chosen, len(together), {number: [together[at] for at in places] for number, places in places_of}

    def _drawn(self, objective: Objective, rng: np.random.Generator, size: int, step: int) -> list[Any]:
        if isinstance(objective, Paced):
            return objective.draw_at(rng, size, self.progress(step))
        return objective.draw(rng, size)

    def _places(self, size: int) -> dict[int, range]:
        """Which examples of a batch of some size each slice of this process has."""
        count = self.processes.count
        pieces = -(-self.accumulation // count) * count
        length = max(1, -(-size // pieces))
        numbers = range(self.processes.rank, pieces, count)
        return {
            number: range(number * length, min(size, (number + 1) * length))
            for number in numbers
            if number * length < size
        }

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step, with this process's slices prepared."""
        chosen, size, slices = self.draw(step)
        objective = self.objectives[chosen].objective
        return Batch(chosen, size, [Slice(number, objective.prepare(some)) for number, some in slices.items()])


def batches(plan: BatchPlan, first: int, last: int, workers: int, device: torch.device) -> Iterator[Batch]:
    """The batches of steps `first` to `last`.

    Parameters
    ----------
    workers
        Processes that draw and prepare ahead; 0 does it when a batch is asked for. The batches are the same.
    device
        Where they go; for a GPU the tensors lie in pinned memory.
    """
    if workers == 0:
        yield from (plan[step] for step in range(first, last + 1))
        return
    loader = DataLoader(
        _Careful(plan),
        batch_size=None,
        sampler=range(first, last + 1),
        num_workers=workers,
        prefetch_factor=_AHEAD,
        # Objectives hold the model, which is not to be copied: workers begin as forks, and do not touch it.
        multiprocessing_context="fork",
        worker_init_fn=_deaf,
        collate_fn=_as_it_is,
        pin_memory=device.type == "cuda",
    )
    for found in loader:
        if isinstance(found, _Failure):
            raise found.problem
        yield found


def resolve_workers(workers: int | None, device: torch.device) -> int:
    """What ``None`` means: some on a GPU, which would wait for a single process to draw; none on a CPU.

    Where processes cannot be forked it is none.
    """
    if not sys.platform.startswith("linux"):
        return 0
    if workers is not None:
        return workers
    if device.type != "cuda":
        return 0
    beside = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return max(0, min(_MOST_WORKERS, len(os.sched_getaffinity(0)) // beside - 1))


class _Failure(NamedTuple):
    """An error on its way from a worker; torch would put the worker's traceback into the message."""

    problem: Exception


class _Careful(Dataset[Batch | _Failure]):
    def __init__(self, plan: BatchPlan) -> None:
        self.plan = plan

    def __getitem__(self, step: int) -> Batch | _Failure:
        try:
            return self.plan[step]
        except Exception as problem:
            return _Failure(problem)


def _as_it_is(made: Any) -> Any:
    """Torch's own choice would make lists of tuples, and tensors of arrays."""
    return made


def _deaf(worker: int) -> None:
    """Leave Ctrl-C and a polite end to the process that trains, which wants its batches until it has stopped."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
