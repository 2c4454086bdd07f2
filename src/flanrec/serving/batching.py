"""Requests that wait for the model, and go through it together: bounded, with deadlines, and free when nobody waits."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from flanrec.serving.settings import Queue

logger = logging.getLogger(__name__)

Job = TypeVar("Job")
Result = TypeVar("Result")

_BATCHES = 17
"""So many tell how long a request takes."""
_EXPECTED_SECONDS = 0.001
"""Before there are any."""
_SHARE_OF_THE_LAST = 0.01
_OVERLOAD = 0.3
"""Share of refused ones. With the weight above 36 in a row are an overload: those of a moment in which the machine did
something else are fewer, and do not shorten the queue for the next."""
_FORGOTTEN_SECONDS = 0.1
"""In so much time without work that share falls to a third."""
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
    jobs: Sequence[Job]
    tokens: Sequence[int]
    answer: asyncio.Future[list[Result | Exception]]
    begun: float
    answers: list[Result | Exception] = field(default_factory=list)

    def take(self, most: int, tokens: float) -> tuple[int, int]:
        """How many of the jobs that are left may go, and their tokens."""
        left = self.tokens[len(self.answers) :]
        costs = list(itertools.takewhile(lambda cost: cost <= tokens, itertools.accumulate(left[:most])))
        return len(costs), costs[-1] if costs else 0


class Batcher(Generic[Job, Result]):
    """Runs the jobs of requests in one thread, as many at once as wait and fit.

    Nothing waits for company: while the model is at work, requests gather, and all of them that fit go next. A request
    of more jobs than fit goes on behind those that came meanwhile, so that none stands behind the whole of a large one.
    A request whose deadline passes, or whose client is gone, leaves the queue at once, with all that is left of it.

    While many are refused the queue is kept short: under an overload that lasts, those who are let in are answered
    about as soon as ever, instead of each behind a whole queue, and those who stand far behind when it begins are told
    so at once. A crowd that comes once just waits.

    Parameters
    ----------
    run
        Answers some jobs, in their order; an exception in the place of an answer is told there. It is called in a
        thread of its own, never twice at a time.
    settings
        How many wait, and how much goes through at once.
    told
        Called after each batch with the jobs in it, the seconds that each request waited of which it had the first, and
        those that the batch took.
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
        self._idle_since = time.monotonic()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flanrec-model")
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._refused_share = 0.0
        self._of_late = deque([_EXPECTED_SECONDS] * (_BATCHES // 2 + 1), maxlen=_BATCHES)
        self._seconds_a_request = _EXPECTED_SECONDS

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
        seconds = max(1, math.ceil(len(self._queue) * self._seconds_a_request))
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
        return min(max(fewest, int(milliseconds / 1000 / self._seconds_a_request)), self._settings.waiting)

    def _rested(self) -> None:
        """Forget refusals while the model has nothing to do: then there is no overload."""
        if self._idle.is_set():
            self._refused_share *= math.exp((self._idle_since - time.monotonic()) / _FORGOTTEN_SECONDS)

    def start(self) -> None:
        """Begin to work; in a running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._work(), name="flanrec-batches")

    async def ask(self, jobs: Sequence[Job], tokens: Sequence[int], seconds: float) -> list[Result | Exception]:
        """The answers to the jobs of a request, an exception in the place of one that failed.

        Parameters
        ----------
        tokens
            What each costs.
        seconds
            Until when they are wanted.

        Raises
        ------
        Busy, Late, Closed
            They cannot be answered, not in time, or no more.
        """
        if self._closed:
            raise Closed
        if not jobs:
            return []
        self._rested()
        if self.full:
            raise self.refuse()
        waiting: _Waiting[Job, Result] = _Waiting(
            jobs, tokens, asyncio.get_running_loop().create_future(), time.monotonic()
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
            logger.warning("not all requests were answered before the service ended")
        answered = self._idle.is_set()
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)
        return answered

    async def _work(self) -> None:
        try:
            while True:
                batch = self._next()
                if batch:
                    await self._answer(batch)
                    continue
                self._woken.clear()
                self._idle_since = time.monotonic()
                self._idle.set()
                await self._woken.wait()
        finally:
            self._idle.set()

    async def _answer(self, batch: Sequence[tuple[_Waiting[Job, Result], int]]) -> None:
        begun = time.monotonic()
        jobs = [job for one, count in batch for job in one.jobs[len(one.answers) :][:count]]
        first = [begun - one.begun for one, _ in batch if not one.answers]
        try:
            answers = await asyncio.get_running_loop().run_in_executor(self._thread, self._run, jobs)
        except Exception as problem:
            logger.exception("a batch of %d questions failed", len(jobs))
            answers = [problem] * len(jobs)
        seconds = time.monotonic() - begun
        self._of_late.append(seconds / len(batch))
        # One that is slow for once says nothing of the next.
        self._seconds_a_request = statistics.median(self._of_late)
        askers = (one for one, count in batch for _ in range(count))
        for one, answer in zip(askers, answers, strict=True):
            one.answers.append(answer)
        for one, _ in batch:
            if one.answer.done():
                continue
            if len(one.answers) == len(one.jobs):
                one.answer.set_result(one.answers)
            else:
                self._queue.append(one)
        if self._told is not None:
            self._told(len(jobs), first, seconds)

    def _next(self) -> list[tuple[_Waiting[Job, Result], int]]:
        """Who goes next, and with how many jobs each."""
        batch: list[tuple[_Waiting[Job, Result], int]] = []
        places, tokens = self._settings.together, self._settings.tokens
        while self._queue and places:
            count, cost = self._queue[0].take(places, tokens)
            if not count and batch:
                break
            batch.append((self._queue.popleft(), max(count, 1)))  # one that costs more than all goes alone
            places, tokens = places - max(count, 1), tokens - cost if count else 0
        return batch
