"""Requests that arrive together are answered together, by one thread; how many may wait is bounded."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Told = TypeVar("Told")


class TooManyError(Exception):
    """As many requests wait as may, or one has waited for too long."""


@dataclass
class _Job(Generic[Asked, Told]):
    asked: Asked
    answer: "asyncio.Future[Told]"

    def fail(self, error: Exception) -> None:
        """Tells an error, unless there is an answer or nobody waits for one."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Batcher(Generic[Asked, Told]):
    """Gives what waits, at most `most` at once, to a function in a thread of its own, one batch after the other. Nobody
    waits for a batch to fill: while one is computed, the next gathers.

    Args:
        compute: Takes what was asked; returns an answer or an exception for each.
        most: In a batch.
        max_waiting: What may wait.
        timeout: Seconds after which nobody waits for an answer any more.
    """

    def __init__(
        self,
        compute: Callable[[Sequence[Asked]], Sequence[Told | Exception]],
        most: int,
        max_waiting: int,
        timeout: float,
    ) -> None:
        self._compute, self._most, self._timeout = compute, most, timeout
        self._waiting: asyncio.Queue[_Job[Asked, Told]] = asyncio.Queue(max_waiting)
        self._thread = ThreadPoolExecutor(1, "ranking")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to answer; within the event loop."""
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Answers what waits, then ends."""
        await self._waiting.join()
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown()

    @property
    def is_at_work(self) -> bool:
        """Whether requests are answered."""
        return self._task is not None and not self._task.done()

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return self._waiting.qsize()

    async def ask(self, asked: Asked) -> Told:
        """Returns the answer.

        Raises:
            TooManyError: As many wait as may, or this one has waited too long.
            Exception: Whatever `compute` has for this one.
        """
        loop = asyncio.get_running_loop()
        job: _Job[Asked, Told] = _Job(asked, loop.create_future())
        try:
            self._waiting.put_nowait(job)
        except asyncio.QueueFull:
            raise TooManyError from None
        late = loop.call_later(self._timeout, job.fail, TooManyError())
        try:
            return await job.answer
        finally:
            late.cancel()

    async def _work(self) -> None:
        while True:
            jobs = [await self._waiting.get()]
            while len(jobs) < self._most and not self._waiting.empty():
                jobs.append(self._waiting.get_nowait())
            wanted = [job for job in jobs if not job.answer.done()]  # a caller that gave up has cancelled his
            if wanted and not await self._answer(wanted):
                for job in wanted:  # a fault of one must not be that of those it came with
                    await self._answer([job])
            for _ in jobs:
                self._waiting.task_done()

    async def _answer(self, jobs: "list[_Job[Asked, Told]]") -> bool:
        """Answers some requests at once; returns whether they have been told: of several a fault is told to none."""
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._thread, self._compute, [job.asked for job in jobs])
            told = list(zip(jobs, answers, strict=True))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # a fault of ours, a panic of a library's among them
            if len(jobs) > 1:
                return False
            told = [(jobs[0], error if isinstance(error, Exception) else RuntimeError(str(error)))]
        for job, answer in told:
            if isinstance(answer, Exception):
                job.fail(answer)
            elif not job.answer.done():
                job.answer.set_result(answer)
        return True
