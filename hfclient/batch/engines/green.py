"""`GreenEngine`: all calls in one thread, each in a greenlet over one event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from hfclient.batch.calls import Call
from hfclient.batch.engines import run_job, take
from hfclient.batch.items import Item
from hfclient.batch.jobs import Job
from hfclient.batch.pacing.guarded import guarded
from hfclient.batch.pacing.pace import Pace
from hfclient.errors import Cancelled
from hfclient.transport.aiohttp_transport import AiohttpTransport
from hfclient.transport.green_threads import GreenThreads, await_here, call_aside

if TYPE_CHECKING:
    from hfclient.transport import Retry, Timeouts

__all__ = ["GreenEngine"]

# Finished jobs are handed over when half of those that may run have ended, or after so many seconds: each hand-over wakes the other
# thread, and syncs a checkpoint.
_GATHER = 0.01


class GreenEngine:
    """Runs jobs in greenlets; see `Engine`. Each greenlet takes one job after another."""

    def __init__(self, call: Call, pace: Pace, *, transport: AiohttpTransport, timeouts: Timeouts, retry: Retry) -> None:
        self._run: Callable[[Item], Any] = call.with_client(transport=transport, timeouts=timeouts, retry=retry).run
        if pace.guard is not None:
            self._run = guarded(self._run, pace.guard, pace.options, call_aside)
        self._pace = pace
        self._green = GreenThreads(transport.aclose, self._fail)
        self._done: list[Job] = []  # the loop's thread appends, the other one takes
        self._news = threading.Event()
        self._most_done = max(1, pace.most // 2)
        self._hand_over_at: asyncio.TimerHandle | None = None
        self._is_closed = self._is_starting = False
        self._idle: list[asyncio.Future[Job]] = []  # greenlets that wait for a job; a new one costs several times as much
        self._timer: asyncio.TimerHandle | None = None
        self._failure: BaseException | None = None  # of the pace, when the last job has ended; of the loop; or a bug

    def submit(self, jobs: Iterable[Job]) -> None:
        self._pace.submit(jobs)
        self._green.call(self._start_or_fail)

    def finished(self, seconds: float | None = None) -> list[Job]:
        self._green.check()
        if self._failure is None:
            self._news.wait(seconds)
        self._news.clear()
        if not self._done and self._failure is not None:
            raise self._failure
        return take(self._done)

    def close(self) -> list[Job]:
        self._is_closed = True
        self._pace.clear()
        self._green.close()
        return take(self._done) if self._green.is_own else []

    # In the thread of the loop

    def _start(self) -> None:
        """Give the jobs that may run now to greenlets."""
        self._is_starting = False
        while (job := self._next()) is not None:
            if self._idle:
                self._idle.pop().set_result(job)
            else:
                self._green.spawn(partial(self._or_fail, partial(self._work, job)))

    def _start_or_fail(self) -> None:
        self._or_fail(self._start)

    def _or_fail(self, function: Callable[[], None]) -> None:
        """Call *function*; an error of it is raised by :meth:`finished`, which would wait for ever."""
        try:
            function()
        except BaseException as error:  # noqa: BLE001 (a bug, or sys.exit() in a function of the caller)
            self._failure = error
            self._news.set()

    def _fail(self, error: BaseException) -> None:
        """The loop has ended with *error*, or is about to."""
        self._is_closed = True  # the jobs that are cancelled by that have no answers
        if self._failure is None:
            self._failure = error
        self._news.set()

    def _start_later(self) -> None:
        self._timer = None
        self._start_or_fail()

    def _next(self) -> Job | None:
        """Return the next job if it may start."""
        if self._is_closed:
            return None
        found = self._pace.next()
        if isinstance(found, Job):
            return found
        if found is not None:
            loop = asyncio.get_running_loop()
            if self._timer is not None and self._timer.when() > loop.time() + found:
                self._timer.cancel()
                self._timer = None
            if self._timer is None:
                self._timer = loop.call_later(found, self._start_later)
        return None

    def _work(self, job: Job) -> None:
        """Run *job*, and then one after another, until the engine is closed."""
        while True:
            run_job(self._run, job)
            if not self._pace.ended(job) and not (self._is_closed and isinstance(job.error, Cancelled)):
                self._done.append(job)
                if len(self._done) == self._most_done or not (self._pace.running or self._pace.waiting):
                    asyncio.get_running_loop().call_soon(self._hand_over)
                elif self._hand_over_at is None:
                    self._hand_over_at = asyncio.get_running_loop().call_later(_GATHER, self._hand_over)
            following = self._next()
            if following is not None:
                job = following
                if self._pace.running < self._pace.most and not self._is_starting:
                    self._is_starting = True  # the end of one job may admit several; not here, inside of a greenlet
                    asyncio.get_running_loop().call_soon(self._start_or_fail)
                continue
            if self._pace.failure is not None and not self._pace.running:
                self._failure = self._pace.failure
                self._news.set()
            if self._pace.waiting:
                asyncio.get_running_loop().call_soon(self._start_or_fail)
            idle = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            try:
                job = await_here(idle)
            except Cancelled:  # the engine is closed
                return

    def _hand_over(self) -> None:
        if self._hand_over_at is not None:
            self._hand_over_at.cancel()
            self._hand_over_at = None
        if self._done:
            self._news.set()
