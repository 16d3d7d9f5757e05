"""`ThreadEngine`: a thread for each call in flight. For calls that run functions of the caller, and without the extra."""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from hfclient.batch.calls import Call
from hfclient.batch.engines import run_job, take
from hfclient.batch.items import Item
from hfclient.batch.jobs import Job
from hfclient.batch.pacing.guarded import guarded
from hfclient.batch.pacing.pace import Pace
from hfclient.errors import Cancelled, InvalidInputError
from hfclient.transport.scope import Scope, in_scope

__all__ = ["ThreadEngine"]


class ThreadEngine:
    """Runs jobs in threads; see `Engine`."""

    def __init__(self, call: Call, pace: Pace, workers: int) -> None:
        self._run: Callable[[Item], Any] = call.run
        if pace.guard is not None:
            self._run = guarded(self._run, pace.guard, pace.options, lambda function: function())
        self._pace = pace
        self._workers = workers
        self._threads: list[threading.Thread] = []
        self._change = threading.Condition()
        self._news = threading.Condition()
        self._done: list[Job] = []
        self._failure: BaseException | None = None  # of the pace, when the last job has ended; or a bug
        self._is_closed = False
        self._scope = Scope(None)  # within that of the caller
        self._context = contextvars.copy_context()
        self._process = os.getpid()

    def submit(self, jobs: Iterable[Job]) -> None:
        self._check_process()
        self._pace.submit(jobs)
        with self._change:
            self._change.notify_all()
        while len(self._threads) < min(self._workers, self._pace.waiting + len(self._threads)):
            run = self._context.copy().run
            thread = threading.Thread(target=run, args=(self._work_or_fail,), name="hfclient-batch", daemon=True)
            self._threads.append(thread)
            thread.start()

    def finished(self, seconds: float | None = None) -> list[Job]:
        self._check_process()
        with self._news:
            if not self._done and self._failure is None:
                self._news.wait(seconds)
            if not self._done and self._failure is not None and not self._is_closed:
                raise self._failure
        return take(self._done)

    def close(self) -> list[Job]:
        if os.getpid() != self._process or sys.is_finalizing():  # there are no threads
            return []
        with self._change:
            self._is_closed = True
            self._pace.clear()
            self._change.notify_all()
        self._scope.cancel()
        threads, self._threads = self._threads, []  # Ctrl-C ends the wait: a function of the caller may not end
        for thread in threads:
            if thread is not threading.current_thread():  # the garbage collector may call this in any thread
                with contextlib.suppress(RuntimeError):  # Ctrl-C has come before it ran: it ends when it does
                    thread.join()
        return self.finished(0)

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise InvalidInputError("the batch belongs to the process that this one was forked from: make a new one here")

    def _work_or_fail(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 (a bug, or sys.exit() in a function; `finished` would wait for ever)
            with self._news:
                self._failure = error
                self._news.notify()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            with in_scope(self._scope):
                run_job(self._run, job)
            with self._news:
                if not self._pace.ended(job) and not (self._is_closed and isinstance(job.error, Cancelled)):
                    self._done.append(job)
                    self._news.notify()
                if self._pace.failure is not None and not self._pace.running:
                    self._failure = self._pace.failure
            with self._change:
                self._change.notify_all()

    def _next(self) -> Job | None:
        """Return the next job, when it may start; None at the end."""
        with self._change:
            while not self._is_closed:
                found = self._pace.next()
                if isinstance(found, Job):
                    return found
                self._change.wait(found)
        return None
