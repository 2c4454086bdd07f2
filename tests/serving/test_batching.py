"""Requests in one queue before one model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace

import pytest

from flanrec.serving import batching
from flanrec.serving.batching import Batcher, Busy, Closed, Late
from flanrec.serving.settings import Queue


class Model:
    """Answers each number with its double, while the gate is open."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def run(self, jobs: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(jobs))
        self.gate.wait(timeout=20)
        return [ValueError(f"job {job}") if job < 0 else 2 * job for job in jobs]


async def asked_one(batcher: Batcher[int, int], job: int, tokens: int, seconds: float) -> int:
    """The answer to a request of one job."""
    answer = (await batcher.ask([job], [tokens], seconds))[0]
    if isinstance(answer, Exception):
        raise answer
    return answer


def served(settings: Queue, script: Callable[[Batcher[int, int], Model], Awaitable[None]]) -> Model:
    model = Model()

    async def play() -> None:
        batcher: Batcher[int, int] = Batcher(model.run, settings)
        batcher.start()
        try:
            await script(batcher, model)
        finally:
            model.gate.set()
            await batcher.close(5)

    asyncio.run(play())
    return model


async def taken(model: Model, batches: int) -> None:
    while len(model.batches) < batches:
        await asyncio.sleep(0.001)


def test_every_job_gets_its_own_answer() -> None:
    async def script(batcher: Batcher[int, int], model: Model) -> None:
        answers = await asyncio.gather(*(asked_one(batcher, job, 1, 5) for job in range(50)))
        assert answers == [2 * job for job in range(50)]

    served(Queue(waiting=64), script)


def test_what_waits_while_the_model_works_goes_through_together() -> None:
    async def script(batcher: Batcher[int, int], model: Model) -> None:
        model.gate.clear()
        first = asyncio.ensure_future(asked_one(batcher, 0, 1, 5))
        await taken(model, 1)
        others = [asyncio.ensure_future(asked_one(batcher, job, 1, 5)) for job in range(1, 8)]
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(first, *others)

    assert served(Queue(waiting=64, together=4), script).batches == [[0], [1, 2, 3, 4], [5, 6, 7]]


def test_a_batch_has_no_more_tokens_than_fit_but_one_job_always_goes() -> None:
    async def script(batcher: Batcher[int, int], model: Model) -> None:
        model.gate.clear()
        first = asyncio.ensure_future(asked_one(batcher, 0, 1, 5))
        await taken(model, 1)
        others = [
            asyncio.ensure_future(asked_one(batcher, job, tokens, 5))
            for job, tokens in ((1, 6), (2, 4), (3, 50), (4, 1))
        ]
        await asyncio.sleep(0)
        model.gate.set()
        await asyncio.gather(first, *others)

    assert served(Queue(waiting=64, tokens=10), script).batches == [[0], [1, 2], [3], [4]]


def test_a_large_request_goes_in_parts_and_lets_others_between() -> None:
    async def script(batcher: Batcher[int, int], model: Model) -> None:
        model.gate.clear()
        first = asyncio.ensure_future(asked_one(batcher, 0, 1, 5))
        await taken(model, 1)
        large = asyncio.ensure_future(batcher.ask([1, 2, 3, -4, 5, 6, 7], [1, 1, 1, 1, 9, 2, 2], 5))
        small = [asyncio.ensure_future(asked_one(batcher, job, 1, 5)) for job in (8, 9)]
        await asyncio.sleep(0)
        model.gate.set()
        answers = await large
        assert [str(answer) for answer in answers] == ["2", "4", "6", "job -4", "10", "12", "14"]
        assert await asyncio.gather(first, *small) == [0, 16, 18]

    batches = [[0], [1, 2, 3], [8, 9, -4], [5], [6, 7]]
    assert served(Queue(waiting=64, together=3, tokens=4), script).batches == batches


def test_nothing_is_done_for_what_is_left_of_a_request_whose_deadline_has_passed() -> None:
    async def script(batcher: Batcher[int, int], model: Model) -> None:
        model.gate.clear()
        late = asyncio.ensure_future(batcher.ask([1, 2, 3], [1, 1, 1], 0.05))
        await taken(model, 1)
        with pytest.raises(Late):
            await late
        model.gate.set()
        assert await asked_one(batcher, 4, 1, 5) == 8

    assert served(Queue(together=1), script).batches == [[1], [4]]


def test_a_request_of_nothing_is_answered_by_nothing() -> None:
    async def script(batcher: Batcher[int, int], model: Model) -> None:
        assert await batcher.ask([], [], 5) == []

    assert served(Queue(), script).batches == []


def test_a_full_queue_refuses_and_says_when_to_come_again() -> None:
    async def script(batcher: Batcher[int, int], model: Model) -> None:
        model.gate.clear()
        first = asyncio.ensure_future(asked_one(batcher, 0, 1, 5))
        await taken(model, 1)
        waiting = [asyncio.ensure_future(asked_one(batcher, job, 1, 5)) for job in (1, 2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy) as told:
            await asked_one(batcher, 3, 1, 5)
        assert told.value.seconds >= 1
        model.gate.set()
        assert await asyncio.gather(first, *waiting) == [0, 2, 4]
        assert await asked_one(batcher, 3, 1, 5) == 6

    served(Queue(waiting=2), script)


@pytest.mark.parametrize(("refused", "full"), [(40, True), (20, False)])
def test_while_many_are_refused_few_wait_and_then_as_many_as_before(refused: int, full: bool) -> None:
    async def script(batcher: Batcher[int, int], model: Model) -> None:
        async def asked(jobs: int) -> list[asyncio.Future[int]]:
            """One that the model works on, and others that wait."""
            model.gate.clear()
            before = len(model.batches)
            found = [asyncio.ensure_future(asked_one(batcher, 0, 1, 20))]
            await taken(model, before + 1)
            found += [asyncio.ensure_future(asked_one(batcher, job, 1, 20)) for job in range(1, jobs)]
            await asyncio.sleep(0)
            return found

        async def answered(jobs: list[asyncio.Future[int]], gone: int = 0) -> None:
            model.gate.set()
            told = await asyncio.gather(*jobs, return_exceptions=True)
            assert [type(one) for one in told] == [int] * (len(jobs) - gone) + [Busy] * gone

        jobs = await asked(5)
        assert (batcher.waiting, batcher.full) == (4, True)
        for _ in range(refused):
            with pytest.raises(Busy):
                await asked_one(batcher, 5, 1, 20)
        assert batcher.waiting == (2 if full else 4)
        await answered(jobs, gone=2 if full else 0)
        jobs = await asked(3)
        assert (batcher.waiting, batcher.full) == (2, full)
        await answered(jobs)
        for _ in range(10):
            await asked_one(batcher, 6, 1, 20)
        jobs = await asked(3)
        assert (batcher.waiting, batcher.full) == (2, False)
        await answered(jobs)

    served(Queue(waiting=4, together=4, overload_ms=1), script)


@pytest.mark.parametrize(("rest", "answered"), [(0.0, 3), (0.3, 9)])
def test_an_overload_is_over_soon_after_the_model_has_nothing_to_do(
    rest: float, answered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 100.0
    monkeypatch.setattr(batching, "time", SimpleNamespace(monotonic=lambda: moment))

    async def script(batcher: Batcher[int, int], model: Model) -> None:
        nonlocal moment

        async def crowd(refused: int) -> int:
            model.gate.clear()
            before = len(model.batches)
            jobs = [asyncio.ensure_future(asked_one(batcher, 0, 1, 20))]
            await taken(model, before + 1)
            jobs += [asyncio.ensure_future(asked_one(batcher, 0, 1, 20)) for _ in range(8)]
            await asyncio.sleep(0)
            for _ in range(refused):
                with pytest.raises(Busy):
                    await asked_one(batcher, 1, 1, 20)
            model.gate.set()
            told = await asyncio.gather(*jobs, return_exceptions=True)
            return sum(isinstance(one, int) for one in told)

        assert await crowd(refused=80) == 3
        while not batcher._idle.is_set():
            await asyncio.sleep(0.001)
        moment += rest
        assert await crowd(refused=0) == answered

    served(Queue(waiting=8, overload_ms=1), script)


@pytest.mark.parametrize(("slow", "wait_ms", "most"), [(10, 1_000, 20), (10, 50, 16), (1, 1_000, 30)])
def test_no_more_wait_than_the_model_answers_in_time_but_sixteen_always(
    slow: int, wait_ms: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 100.0
    monkeypatch.setattr(batching, "time", SimpleNamespace(monotonic=lambda: moment))

    async def script(batcher: Batcher[int, int], model: Model) -> None:
        nonlocal moment
        for batch in range(slow):
            model.gate.clear()
            job = asyncio.ensure_future(asked_one(batcher, 0, 1, 20))
            await taken(model, batch + 1)
            moment += 0.05
            model.gate.set()
            await job
        model.gate.clear()
        jobs = [asyncio.ensure_future(asked_one(batcher, 1, 1, 20))]
        await taken(model, slow + 1)
        jobs += [asyncio.ensure_future(asked_one(batcher, 1, 1, 20)) for _ in range(40)]
        await asyncio.sleep(0)
        assert batcher.waiting == most
        model.gate.set()
        told = await asyncio.gather(*jobs, return_exceptions=True)
        assert [type(one) for one in told].count(Busy) == 40 - most

    served(Queue(waiting=30, wait_ms=wait_ms), script)


def test_a_job_that_is_late_leaves_the_queue_and_is_never_run() -> None:
    async def script(batcher: Batcher[int, int], model: Model) -> None:
        model.gate.clear()
        first = asyncio.ensure_future(asked_one(batcher, 0, 1, 5))
        await taken(model, 1)
        with pytest.raises(Late):
            await asked_one(batcher, 1, 1, 0.02)
        assert batcher.waiting == 0
        model.gate.set()
        await first

    assert served(Queue(waiting=2), script).batches == [[0]]


def test_a_job_that_nobody_waits_for_leaves_the_queue() -> None:
    async def script(batcher: Batcher[int, int], model: Model) -> None:
        model.gate.clear()
        first = asyncio.ensure_future(asked_one(batcher, 0, 1, 5))
        await taken(model, 1)
        gone = asyncio.ensure_future(asked_one(batcher, 1, 1, 5))
        await asyncio.sleep(0)
        assert batcher.waiting == 1
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert batcher.waiting == 0
        model.gate.set()
        await first

    assert served(Queue(waiting=2), script).batches == [[0]]


def test_a_job_that_fails_fails_alone() -> None:
    async def script(batcher: Batcher[int, int], model: Model) -> None:
        model.gate.clear()
        first = asyncio.ensure_future(asked_one(batcher, 0, 1, 5))
        await taken(model, 1)
        others = [asyncio.ensure_future(asked_one(batcher, job, 1, 5)) for job in (1, -2, 3)]
        await asyncio.sleep(0)
        model.gate.set()
        good, bad, fine = await asyncio.gather(*others, return_exceptions=True)
        assert (good, fine) == (2, 6)
        assert isinstance(bad, ValueError)
        await first

    served(Queue(waiting=8), script)


def test_a_model_that_breaks_is_told_to_everyone_who_waited_and_goes_on() -> None:
    def run(jobs: Sequence[int]) -> Sequence[int]:
        if 13 in jobs:
            raise RuntimeError("broken")
        return list(jobs)

    async def play() -> None:
        batcher: Batcher[int, int] = Batcher(run, Queue())
        batcher.start()
        with pytest.raises(RuntimeError, match="broken"):
            await asked_one(batcher, 13, 1, 5)
        assert await asked_one(batcher, 1, 1, 5) == 1
        await batcher.close(5)

    asyncio.run(play())


def test_closing_answers_what_was_taken_and_takes_no_more() -> None:
    async def play() -> None:
        model = Model()
        batcher: Batcher[int, int] = Batcher(model.run, Queue())
        batcher.start()
        model.gate.clear()
        asked = [asyncio.ensure_future(asked_one(batcher, job, 1, 5)) for job in (1, 2)]
        await taken(model, 1)
        closing = asyncio.ensure_future(batcher.close(5))
        await asyncio.sleep(0)
        with pytest.raises(Closed):
            await asked_one(batcher, 3, 1, 5)
        model.gate.set()
        assert await closing
        assert await asyncio.gather(*asked) == [2, 4]

    asyncio.run(play())


def test_every_batch_is_told() -> None:
    told: list[tuple[int, int]] = []

    async def play() -> None:
        batcher: Batcher[int, int] = Batcher(
            lambda jobs: list(jobs), Queue(), lambda size, waits, seconds: told.append((size, len(waits)))
        )
        batcher.start()
        await asyncio.gather(*(asked_one(batcher, job, 1, 5) for job in range(3)))
        await batcher.close(5)

    asyncio.run(play())
    assert sum(size for size, _ in told) == 3
    assert all(size == waits for size, waits in told)
