"""Requests that wait for the model, and go through it together: bounded, with deadlines, and free when nobody waits."""

from __future__ import annotations

import asyncio
import logging
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from flanrec.serving.settings import Queue

logger = logging.getLogger(__name__)

Job = TypeVar("Job")
Result = TypeVar("Result")

_BATCHES = 17
"""So many tell how long a job takes."""
_EXPECTED_SECONDS = 0.001
"""Before there are any."""
_SHARE_OF_THE_LAST = 0.01
_OVERLOAD = 0.3
"""Share of refused ones. With the weight above 36 in a row are an overload: those of a moment in which the machine did
something else are fewer, and do not shorten the queue for the next."""
_FEWEST, _FEWEST_UNDER_OVERLOAD = 16, 2
"""These may wait, however long the model takes."""


class Busy(Exception):
    """Raised when the queue is full.

    Attributes
    ----------
    seconds
        When to come again.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many requests wait; come again in {seconds} s")
        self.seconds = seconds


class Late(Exception):
    """Raised when a request was not answered before its deadline; nothing more is done for it."""


class Closed(Exception):
    """Raised when the service takes no more requests because it is ending."""


@dataclass(eq=False)
class _Waiting(Generic[Job, Result]):
    job: Job
    tokens: int
    answer: asyncio.Future[Result]
    begun: float


class Batcher(Generic[Job, Result]):
    """Runs jobs in one thread, as many at once as wait and fit.

    Nothing waits for company: while the model is at work, requests gather, and all of them that fit go next. A request
    whose deadline passes, or whose client is gone, leaves the queue at once.

    While many are refused the queue is kept short: under an overload that lasts, those who are let in are answered
    about as soon as ever, instead of each behind a whole queue, and those who stand far behind when it begins are told
    so at once. A crowd that comes once just waits.

    Parameters
    ----------
    run
        Answers some jobs, in their order; an exception in the place of an answer is raised to the one who asked. It is
        called in a thread of its own, never twice at a time.
    settings
        How many wait, and how much goes through at once.
    told
        Called after each batch with its size, the seconds that each job waited, and those that the batch took.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Job]], Sequence[Result | Exception]],
        settings: Queue,
        told: Callable[[int, Sequence[float], float], None] | None = None,
    ) -> None:
        self._run = run
        self._settings = settings
        self._told = told
        self._queue: deque[_Waiting[Job, Result]] = deque()
        self._woken = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flanrec-model")
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._refused_share = 0.0
        self._of_late = deque([_EXPECTED_SECONDS] * (_BATCHES // 2 + 1), maxlen=_BATCHES)
        self._seconds_a_job = _EXPECTED_SECONDS

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether one more would be refused."""
        return len(self._queue) >= self._most

    def refuse(self) -> Busy:
        """What one is told who is refused. When an overload begins, so are those at the end of the queue."""
        self._refused_share += _SHARE_OF_THE_LAST * (1 - self._refused_share)
        seconds = max(1, math.ceil(len(self._queue) * self._seconds_a_job))
        while self._overloaded and len(self._queue) > self._most:
            last = self._queue.pop()
            if not last.answer.done():
                last.answer.set_exception(Busy(seconds))
        return Busy(seconds)

    @property
    def _overloaded(self) -> bool:
        return self._refused_share > _OVERLOAD

    @property
    def _most(self) -> int:
        """How many may wait now."""
        fewest, milliseconds = (
            (_FEWEST_UNDER_OVERLOAD, self._settings.overload_ms)
            if self._overloaded
            else (_FEWEST, self._settings.wait_ms)
        )
        return min(max(fewest, int(milliseconds / 1000 / self._seconds_a_job)), self._settings.waiting)

    def start(self) -> None:
        """Begin to work; in a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._work(), name="flanrec-batches")

    async def ask(self, job: Job, tokens: int, seconds: float) -> Result:
        """The answer to a job.

        Parameters
        ----------
        tokens
            What it costs.
        seconds
            Until when it is wanted.

        Raises
        ------
        Busy, Late, Closed
            It cannot be answered, not in time, or no more.
        """
        if self._closed:
            raise Closed
        if self.full:
            raise self.refuse()
        waiting: _Waiting[Job, Result] = _Waiting(
            job, tokens, asyncio.get_running_loop().create_future(), time.monotonic()
        )
        self._queue.append(waiting)
        self._refused_share -= _SHARE_OF_THE_LAST * self._refused_share
        self._idle.clear()
        self._woken.set()
        try:
            async with asyncio.timeout(seconds):
                return await waiting.answer
        except TimeoutError:
            raise Late from None
        finally:
            waiting.answer.cancel()
            if waiting in self._queue:
                self._queue.remove(waiting)

    async def close(self, seconds: float) -> bool:
        """Take no more, and wait until all that was taken is answered; whether that was so in time."""
        self._closed = True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            logger.warning("%d requests were not answered before the service ended", len(self._queue))
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)
        return not self._queue

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = self._next()
            if not batch:
                self._woken.clear()
                self._idle.set()
                await self._woken.wait()
                continue
            begun = time.monotonic()
            try:
                answers = await loop.run_in_executor(self._thread, self._run, [one.job for one in batch])
            except Exception as problem:
                logger.exception("a batch of %d requests failed", len(batch))
                answers = [problem] * len(batch)
            seconds = time.monotonic() - begun
            self._of_late.append(seconds / len(batch))
            self._seconds_a_job = statistics.median(self._of_late)  # one that is slow for once says nothing of the next
            for one, answer in zip(batch, answers, strict=True):
                if not one.answer.done():
                    _give(one.answer, answer)
            if self._told is not None:
                self._told(len(batch), [begun - one.begun for one in batch], seconds)

    def _next(self) -> list[_Waiting[Job, Result]]:
        batch: list[_Waiting[Job, Result]] = []
        tokens = 0
        while self._queue and len(batch) < self._settings.together:
            tokens += self._queue[0].tokens
            if batch and tokens > self._settings.tokens:
                break
            batch.append(self._queue.popleft())
        return batch


def _give(future: asyncio.Future[Result], answer: Result | Exception) -> None:
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
