"""The processes that tune one model together, as torchrun, ``accelerate launch`` and Ray Train start them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from flanrec.errors import SettingsError

_T = TypeVar("_T")
_PATIENCE = timedelta(hours=2)
"""How long a process waits for the others: the first may be evaluating."""
_BUCKET = 1 << 23
"""Numbers that are sent at once."""


@dataclass(frozen=True)
class Processes:
    """This process's place among those that tune together; alone by default.

    Attributes
    ----------
    rank
        From 0; process 0 evaluates, tells of progress and writes files.
    count
        How many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is process 0."""
        return self.rank == 0

    def add(self, tensors: Iterable[Tensor]) -> None:
        """Make each tensor the sum over all processes; all must give tensors of the same shapes in the same order."""
        self._exchange(tensors, dist.all_reduce)

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Give each tensor the values that it has in process 0."""
        self._exchange(tensors, partial(dist.broadcast, src=0))

    @torch.no_grad()
    def _exchange(self, tensors: Iterable[Tensor], exchange: Callable[[Tensor], Any]) -> None:
        """Put several tensors at a time through an operation on one."""
        if self.count == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            exchange(flat)
            for tensor, part in zip(bucket, torch.split(flat, [tensor.numel() for tensor in bucket]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def from_first(self, make: Callable[[], _T]) -> _T:
        """What a function returns in process 0, in all of them; what it raises there, all raise.

        The function is called in process 0 alone; the others wait for it.
        """
        if self.count == 1:
            return make()
        made: list[tuple[_T | None, BaseException | None]] = [(None, None)]
        if self.first:
            try:
                made = [(make(), None)]
            except BaseException as problem:
                dist.broadcast_object_list([(None, _portable(problem))], src=0)
                raise
        dist.broadcast_object_list(made, src=0)
        value, failure = made[0]
        if failure is not None:
            raise failure
        return value  # type: ignore[return-value]


def all_processes() -> Processes:
    """The processes that a launcher started together with this one; this one alone where there was none.

    Launchers tell by ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR`` and ``MASTER_PORT``. Where nobody has
    joined the processes yet, as Ray Train does, this joins them: what is on GPUs goes through NCCL, the rest by gloo.

    Raises
    ------
    SettingsError
        The environment names several processes but not where they meet, or they do not meet.
    """
    if not dist.is_available():
        return Processes()
    if not dist.is_initialized():
        if not _launched():
            return Processes()
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        try:
            dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=_PATIENCE)
        except (ValueError, RuntimeError) as problem:
            raise SettingsError(
                f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but the processes cannot be joined ({problem}). Start them "
                "with torchrun or accelerate launch, or unset WORLD_SIZE to tune in one process."
            ) from problem
    return Processes(dist.get_rank(), dist.get_world_size())


def parted() -> None:
    """Leave the processes that `all_processes` joined; without them nothing happens."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _launched() -> bool:
    count = os.environ.get("WORLD_SIZE", "1")
    return count.isdigit() and int(count) > 1


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one number format and device that are sent at once."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        same = not bucket or (bucket[0].dtype, bucket[0].device) == (tensor.dtype, tensor.device)
        if bucket and (not same or size + tensor.numel() > _BUCKET):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel()
    if bucket:
        yield bucket


def _portable(problem: BaseException) -> BaseException:
    """The error itself where it can be sent to another process, else its words."""
    try:
        pickle.loads(pickle.dumps(problem))
    except Exception:
        return RuntimeError(f"{type(problem).__name__}: {problem}")
    return problem
