"""`GreenEngine`: all calls in one thread, each in a greenlet over one event loop."""

from __future__ import annotations

import asyncio
import threading
import time
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

# Finished jobs are handed over when so large a part of those that may run have ended, or after so many seconds, or twice as many if
# other jobs run meanwhile: each hand-over wakes the other thread, and syncs a checkpoint.
_MOST_DONE, _GATHER = 2 / 3, 0.01
# Seconds for which the loop lets the other thread work after that, until it has stored what came and submitted new jobs. If both worked,
# the other one would wait for Python's lock after each system call, and each system call of the loop would wake it up in vain.
_BREAK = 0.005
# While the loop is busy for so large a part of the time, so many jobs at a time are enough: the end of one starts the next one. More of
# them would start in bursts, whose objects leave the processor's cache and start the garbage collector.
_BUSY, _ENOUGH = 0.7, 16
_LOOK = 0.002  # seconds until it is seen whether the loop is busy


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
        self._resume = threading.Event()  # the other thread has worked
        self._is_awaited = False  # it waits for news
        self._has_break = False
        self._most_done = max(1, int(pace.most * _MOST_DONE))
        self._looking: asyncio.TimerHandle | None = None  # while jobs are held back
        self._looked = 0.0, 0.0  # when it was seen whether the loop is busy, by the clock and by the processor's time of the thread
        self._is_busy = True
        self._hand_over_at: asyncio.TimerHandle | None = None
        self._is_closed = self._is_starting = False
        self._idle: list[asyncio.Future[Job]] = []  # greenlets that wait for a job; a new one costs several times as much
        self._timer: asyncio.TimerHandle | None = None
        self._failure: BaseException | None = None  # of the pace, when the last job has ended; of the loop; or a bug

    def submit(self, jobs: Iterable[Job]) -> None:
        self._pace.submit(jobs)
        if self._has_break:
            self._resume.set()  # the loop starts them then
        else:
            self._green.call(self._start_or_fail)

    def finished(self, seconds: float | None = None) -> list[Job]:
        self._green.check()
        self._resume.set()
        if self._failure is None:
            self._is_awaited = True
            self._news.wait(seconds)
            self._is_awaited = False
        self._news.clear()
        if not self._done and self._failure is not None:
            raise self._failure
        return take(self._done)

    def close(self) -> list[Job]:
        self._is_closed = True
        self._resume.set()
        self._pace.clear()
        self._green.close()
        return take(self._done) if self._green.is_own else []

    # In the thread of the loop

    def _start(self) -> None:
        """Let all jobs run that may, or enough while the loop is busy."""
        self._is_starting = False
        self._fill(_ENOUGH if self._is_busy else self._pace.most)

    def _look(self) -> None:
        self._looking = None
        self._see_whether_busy()
        self._start()

    def _see_whether_busy(self) -> None:
        (clock, cpu), now = self._looked, (time.monotonic(), time.thread_time())
        self._looked = now
        self._is_busy = now[1] - cpu > _BUSY * (now[0] - clock)

    def _fill(self, most: int) -> None:
        """Give the jobs that may run now to greenlets, until *most* run."""
        while self._pace.running < most:
            if (job := self._next()) is None:
                return
            if self._idle:
                self._idle.pop().set_result(job)
            else:
                self._green.spawn(partial(self._or_fail, partial(self._work, job)))
        if self._is_busy and self._looking is None and self._pace.waiting and self._pace.running < self._pace.most:
            self._looked = time.monotonic(), time.thread_time()
            self._looking = asyncio.get_running_loop().call_later(_LOOK, self._or_fail, self._look)

    def _start_soon(self) -> None:
        if not self._is_starting:
            self._is_starting = True
            asyncio.get_running_loop().call_soon(self._start_or_fail)

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
                    self._hand_over_at = asyncio.get_running_loop().call_later(_GATHER, self._gathered)
            following = self._next()
            if following is not None:
                job = following
                if self._pace.running < self._pace.most:
                    self._start_soon()  # the end of one job may admit several; not here, inside of a greenlet
                continue
            if self._pace.failure is not None and not self._pace.running:
                self._failure = self._pace.failure
                self._news.set()
            if self._pace.waiting:
                self._start_soon()
            idle = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            try:
                job = await_here(idle)
            except Cancelled:  # the engine is closed
                return

    def _gathered(self) -> None:
        self._hand_over_at = None
        if self._is_busy and self._looking is not None:
            self._hand_over_at = asyncio.get_running_loop().call_later(_GATHER, self._hand_over)
        else:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._hand_over_at is not None:
            self._hand_over_at.cancel()
            self._hand_over_at = None
        if self._done:
            self._see_whether_busy()
            self._resume.clear()
            self._has_break = self._is_awaited
            self._news.set()
            if self._has_break:
                self._resume.wait(_BREAK)
                self._looked = time.monotonic(), time.thread_time()
                self._has_break = False
                self._start_or_fail()
