import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from src.serve.http.batching import Batcher, TooManyError


class Work:
    """Computes once it is let: so that a test decides what gathers meanwhile."""

    def __init__(self, answer: Callable[[Any], Any] = lambda asked: asked) -> None:
        self.answer, self.batches, self.threads = answer, [], set()
        self.begun, self.may_go = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, asked: Sequence[Any]) -> list[Any]:
        self.batches.append(list(asked))
        self.threads.add(threading.current_thread())
        self.begun.release()
        self.may_go.acquire()
        return [self.answer(each) for each in asked]

    def let(self, batches: int = 1000) -> None:
        self.may_go.release(batches)

    async def begins(self) -> None:
        await asyncio.to_thread(self.begun.acquire)


def run(work: Work, test: Callable[[Batcher], Awaitable[None]], most=4, max_waiting=100, timeout=60.0) -> None:
    """Runs a test with a batcher that has started, and stops it."""

    async def whole() -> None:
        batcher = Batcher(work, most, max_waiting, timeout)
        batcher.start()
        try:
            await asyncio.wait_for(test(batcher), 60)
        finally:
            work.let()
            await asyncio.wait_for(batcher.stop(), 60)

    asyncio.run(whole())


async def asking(batcher: Batcher, *asked: Any) -> list["asyncio.Task[Any]"]:
    """Returns tasks that have asked, in that order."""
    tasks = [asyncio.create_task(batcher.ask(each)) for each in asked]
    await asyncio.sleep(0)
    return tasks


async def told(tasks: "Sequence[asyncio.Task[Any]]") -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_everyone_gets_his_own_answer_in_batches_of_what_has_gathered():
    work = Work(lambda asked: asked * 10)

    async def test(batcher: Batcher) -> None:
        first = await asking(batcher, 0)
        await work.begins()  # nobody waits for a batch to fill
        others = await asking(batcher, *range(1, 7))
        assert batcher.waiting == 6
        work.let()
        assert await told([*first, *others]) == [0, 10, 20, 30, 40, 50, 60]
        assert work.batches == [[0], [1, 2, 3, 4], [5, 6]]
        assert batcher.waiting == 0

    run(work, test)
    assert len(work.threads) == 1 and threading.main_thread() not in work.threads


def test_one_more_than_may_wait_is_refused_at_once():
    work = Work()

    async def test(batcher: Batcher) -> None:
        first = await asking(batcher, 0)
        await work.begins()
        waiting = await asking(batcher, 1, 2, 3)
        with pytest.raises(TooManyError):
            await batcher.ask(4)
        work.let()
        assert await told([*first, *waiting]) == [0, 1, 2, 3]
        assert await batcher.ask(5) == 5

    run(work, test, max_waiting=3)


def test_who_waits_too_long_is_told_and_not_computed():
    work = Work()

    async def test(batcher: Batcher) -> None:
        first = await asking(batcher, 0)
        await work.begins()
        late = await asking(batcher, 1)
        assert [type(each) for each in await told([*first, *late])] == [TooManyError] * 2
        work.let()
        soon = await asking(batcher, 2)
        assert await told(soon) == [2]
        assert [asked for batch in work.batches for asked in batch] == [0, 2]

    run(work, test, timeout=0.2)


def test_who_has_gone_is_not_computed_and_disturbs_nobody():
    work = Work()

    async def test(batcher: Batcher) -> None:
        first = await asking(batcher, 0)
        await work.begins()
        gone, stays, goes = await asking(batcher, 1, 2, 3)
        gone.cancel()
        await asyncio.sleep(0)
        work.let(1)
        assert await told(first) == [0]
        await work.begins()
        goes.cancel()  # while it is computed
        work.let()
        one, two, three = await told([gone, stays, goes])
        assert isinstance(one, asyncio.CancelledError) and two == 2 and isinstance(three, asyncio.CancelledError)
        assert work.batches == [[0], [2, 3]]

    run(work, test)


def test_nothing_is_computed_where_all_have_gone():
    work = Work()

    async def test(batcher: Batcher) -> None:
        first = await asking(batcher, 0)
        await work.begins()
        for gone in await asking(batcher, 1, 2):
            gone.cancel()
        await asyncio.sleep(0)
        work.let()
        assert await told(first) == [0]
        assert await batcher.ask(3) == 3
        assert work.batches == [[0], [3]]

    run(work, test)


def test_an_exception_for_one_reaches_that_one_alone():
    fault = ValueError("of two")
    work = Work(lambda asked: fault if asked == 2 else asked)
    work.let()

    async def test(batcher: Batcher) -> None:
        assert await told(await asking(batcher, 1, 2, 3)) == [1, fault, 3]

    run(work, test)


def test_a_fault_of_one_is_not_that_of_those_it_came_with():
    def answer(asked: int) -> int:
        if asked == 2:
            raise RuntimeError("no memory")
        return asked

    work = Work(answer)
    work.let()

    async def test(batcher: Batcher) -> None:
        found = await told(await asking(batcher, 1, 2, 3))
        assert [str(each) for each in found] == ["1", "no memory", "3"]
        assert await batcher.ask(4) == 4

    run(work, test)


class PanicError(BaseException):
    """As some libraries raise where they panic."""


def test_a_panic_does_not_end_the_work():
    def answer(asked: int) -> int:
        if asked == 2:
            raise PanicError("out of bounds")
        return asked

    work = Work(answer)
    work.let()

    async def test(batcher: Batcher) -> None:
        assert [str(each) for each in await told(await asking(batcher, 1, 2))] == ["1", "out of bounds"]
        assert batcher.is_at_work and await batcher.ask(4) == 4

    run(work, test)


def test_too_few_answers_are_a_fault_of_that_batch_alone():
    asked_of: list[int] = []

    def compute(asked: Sequence[int]) -> list[int]:
        asked_of.append(len(asked))
        return [] if len(asked_of) == 1 else list(asked)

    async def test() -> None:
        batcher = Batcher(compute, 4, 100, 60.0)
        batcher.start()
        assert isinstance((await told(await asking(batcher, 1)))[0], ValueError)
        assert await batcher.ask(2) == 2
        await batcher.stop()

    asyncio.run(asyncio.wait_for(test(), 10))


def test_what_waits_is_answered_before_the_end():
    work = Work()

    async def test() -> None:
        batcher = Batcher(work, 2, 100, 60.0)
        assert not batcher.is_at_work
        batcher.start()
        assert batcher.is_at_work
        tasks = await asking(batcher, *range(5))
        await work.begins()
        end = asyncio.create_task(batcher.stop())
        await asyncio.sleep(0)
        assert not end.done()
        work.let()
        await end
        await asyncio.sleep(0)
        assert not batcher.is_at_work
        assert await told(tasks) == [0, 1, 2, 3, 4]

    asyncio.run(asyncio.wait_for(test(), 60))
    assert not any(thread.is_alive() for thread in work.threads)
