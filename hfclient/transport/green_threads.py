"""`GreenThreads`: many blocking calls in one thread, over an event loop.

Each call runs in a greenlet, which is a call stack of its own. Where a call would wait for the network, its greenlet hands an
awaitable to the loop and continues when that is done, so the calls themselves are the same blocking code as everywhere in
hfclient: credentials, deadlines, retries and errors included.
"""

from __future__ import annotations

import asyncio
import atexit
import collections
import contextlib
import contextvars
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import greenlet

from hfclient.errors import Cancelled, ConnectError, InvalidInputError
from hfclient.process.forks import reset_after_fork
from hfclient.process.waiting import set_waiter

__all__ = ["GreenThreads", "Wait", "await_here", "call_aside"]

_T = TypeVar("_T")
_FIRST_LOOK, _LAST_LOOK = 0.005, 0.2  # seconds between two looks at a lock that is taken
_LOOKS = 3  # turns of the loop before a wait ends: it reads what has come in the first, and wakes up the greenlet in the second
_STOP_WAIT = 1.0  # seconds for connections to close

_running: weakref.WeakSet[GreenThreads] = weakref.WeakSet()
_of_the_parent: list[object] = []  # loops and connections that a forked child must neither use nor close


class _Green(greenlet.greenlet):  # type: ignore[misc]
    """The greenlet of a call.

    Attributes:
        owner: Runs it.
        task: Awaits for it.
        waits: Number of its waits so far.
        seconds: The limit of the wait that it asks for.
        end: When its present wait is too long, by the loop's clock; None if it does not wait, or for no limit.
        looks: How often that moment was found to have passed.
        is_late: The wait has ended for that.
    """

    owner: GreenThreads
    task: asyncio.Task[None]
    waits = 0
    seconds: float | None = None
    end: float | None = None
    looks = 0
    is_late = False


def await_here(awaitable: Awaitable[_T], seconds: float | None = None) -> _T:
    """Wait for *awaitable* in a greenlet of `GreenThreads`, while other greenlets continue.

    Raises:
        asyncio.TimeoutError: *seconds* passed; the awaitable was cancelled.
        Cancelled: It was cancelled for another reason.
    """
    green = greenlet.getcurrent()
    green.seconds = seconds
    result: _T = green.parent.switch(awaitable)
    return result


class Wait:
    """The next wait of the greenlet that makes this object.

    Attributes:
        task: The task that awaits.
    """

    __slots__ = ("_green", "_loop", "_number", "task")

    def __init__(self) -> None:
        green = self._green = greenlet.getcurrent()
        self._number = green.waits + 1
        self._loop = asyncio.get_running_loop()
        self.task: asyncio.Task[None] = green.task

    def limit(self, seconds: float | None) -> None:
        """Let it last at most *seconds* from now on. In the loop."""
        if self._green.waits == self._number:
            self._green.owner.limit(self._green, seconds)

    def cancel(self) -> None:
        """End it, from any thread; does nothing if it has ended."""
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the wait with it
            self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._green.waits == self._number and not self._green.dead:
            self.task.cancel()


def call_aside(function: Callable[[], _T]) -> _T:
    """Call *function*, which may block, in another thread, while other greenlets continue; return its value."""
    return await_here(asyncio.get_running_loop().run_in_executor(None, function))


class GreenThreads:
    """Runs functions in greenlets of one thread. The thread starts with the first :meth:`call` and ends with :meth:`close`.

    The functions see the context variables of the code that makes this object, among them the block of `hfclient.deadline`.

    Args:
        on_stop: A coroutine function that runs at the end, in the loop.
        on_failure: Gets the error with which the loop ends, or cannot start, as when no file descriptor is left: no call is run any
            more. In the thread.
    """

    def __init__(
        self, on_stop: Callable[[], Coroutine[Any, Any, None]], on_failure: Callable[[BaseException], object]
    ) -> None:
        self._on_stop = on_stop
        self._on_failure = on_failure
        self._context = contextvars.copy_context()
        self._calls: collections.deque[Callable[[], object]] = collections.deque()
        self._greens: set[_Green] = set()
        self._is_woken = self._is_stopping = self._is_closing = self._is_inherited = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        reset_after_fork(self._reset_after_fork)

    def _reset_after_fork(self) -> None:
        """Forget the thread, the loop and its connections in a child: they are the parent's."""
        self._starting = threading.RLock()  # of `_loop` and `_is_stopping`
        if self._thread is not None:
            _of_the_parent.append(dict(vars(self)))
            self._is_inherited = True
            self._loop, self._thread, self._greens = None, None, set()

    @property
    def is_own(self) -> bool:
        """Whether this process made it, and not one that this was forked from."""
        return not self._is_inherited

    @property
    def is_running(self) -> bool:
        """Whether the thread has not ended."""
        return self._thread is not None

    def check(self) -> None:
        """Raise `InvalidInputError` in a forked child."""
        if self._is_inherited:
            raise InvalidInputError("the batch belongs to the process that this one was forked from: make a new one here")

    def call(self, function: Callable[[], object]) -> None:
        """Call *function* soon in the thread of the loop. For one thread only.

        Raises:
            ConnectError: No thread can be started.
        """
        self.check()
        if self._thread is None:
            ready = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(ready,), name="hfclient-batch", daemon=True)
            try:
                self._thread.start()
            except RuntimeError as error:  # this user has no thread left
                raise ConnectError(f"the batch has no thread for its connections: {error}", sent=False) from error
            _running.add(self)
            ready.wait()
        self._calls.append(function)
        if not self._is_woken and self._loop is not None:
            self._is_woken = True
            self._loop.call_soon_threadsafe(self._begin)

    def spawn(self, function: Callable[[], object]) -> None:
        """Run *function*, which must not raise, in a greenlet. In the thread of the loop."""
        green = _Green(function)
        green.gr_context = self._context.copy()
        green.owner = self
        self._greens.add(green)
        green.task = asyncio.get_running_loop().create_task(self._drive(green))

    def close(self) -> None:
        """Cancel the waits of all greenlets, and end the thread."""
        thread = self._thread
        if thread is None:
            return
        with self._starting:
            loop, self._is_stopping = self._loop, True
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(self._stop)
        # The garbage collector may call this in any thread, and at the end of the process no other thread runs.
        if thread is not threading.current_thread() and not sys.is_finalizing():
            with contextlib.suppress(RuntimeError):  # Ctrl-C has come before it ran: it ends when it does
                thread.join()  # Ctrl-C may end this wait; then the end of the process waits again
                self._ended.wait()  # before Python 3.13 a join() that was interrupted takes the thread for ended
        self._thread = None

    # In the thread

    def _run(self, ready: threading.Event) -> None:
        try:
            self._run_loop(ready)
        except BaseException as error:  # noqa: BLE001 (without this the caller would wait for ever)
            self._fail(error)
        finally:
            ready.set()
            self._ended.set()

    def _run_loop(self, ready: threading.Event) -> None:
        loop = asyncio.new_event_loop()
        with self._starting:
            if self._is_stopping:  # Ctrl-C has come meanwhile
                loop.close()
                return
            self._loop = loop
        set_waiter(_wait_for)
        loop.call_soon(ready.set)
        try:
            try:
                loop.run_forever()
            except BaseException as error:  # noqa: BLE001 (the greenlets are ended nevertheless)
                self._fail(error)
            self._is_closing = True
            for green in self._greens:
                green.task.cancel()
            if self._greens:
                loop.run_until_complete(asyncio.gather(*(green.task for green in self._greens), return_exceptions=True))
            with contextlib.suppress(asyncio.TimeoutError):
                loop.run_until_complete(asyncio.wait_for(self._on_stop(), _STOP_WAIT))
        finally:
            self._loop = None
            if self._timer is not None:
                self._timer.cancel()
            loop.close()

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, OSError):
            failure = ConnectError(f"the event loop of the batch failed: {error.strerror or type(error).__name__}", sent=False)
            failure.__cause__ = error.with_traceback(None)  # its frames have the loop, which may hold descriptors
            error = failure
        self._on_failure(error)

    def _stop(self) -> None:
        if not self._is_closing:  # Ctrl-C came in the middle of `close`, which was called again
            asyncio.get_running_loop().stop()

    def _begin(self) -> None:
        self._is_woken = False  # before the calls are taken: one that is added meanwhile wakes the loop again
        while self._calls:
            self._calls.popleft()()

    async def _drive(self, green: _Green) -> None:
        """Run a greenlet, and await here what it waits for."""
        try:
            asked = green.switch()
            while not green.dead:
                green.waits += 1
                try:
                    if self._is_closing:
                        if asyncio.iscoroutine(asked):
                            asked.close()
                        raise asyncio.CancelledError
                    if green.seconds is not None:
                        self.limit(green, green.seconds)
                    result = await asked
                except asyncio.CancelledError:
                    if hasattr(green.task, "uncancel"):  # Python 3.11
                        green.task.uncancel()
                    failure = asyncio.TimeoutError() if green.is_late else Cancelled("the call was cancelled")
                    green.is_late, green.end = False, None
                    asked = green.throw(failure)
                except Exception as error:  # noqa: BLE001 (it belongs to the greenlet)
                    green.end = None
                    asked = green.throw(error)
                else:
                    green.end = None
                    asked = green.switch(result)
        finally:
            self._greens.discard(green)

    # One timer for the limits of all waits: one for each costs as much as to send a request.

    def limit(self, green: _Green, seconds: float | None) -> None:
        """Let the present wait of *green* last at most *seconds* from now on."""
        if seconds is None:
            green.end = None
            return
        loop = asyncio.get_running_loop()
        green.end = end = loop.time() + seconds
        green.looks = 0
        if self._timer is None or end < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(end, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now, nearest = loop.time(), None
        for green in self._greens:
            end = green.end
            if end is None:
                continue
            if end <= now:
                green.looks += 1  # the process may have been stopped: bytes that have come by now are in time
                if green.looks < _LOOKS:
                    nearest = now
                    continue
                green.end, green.is_late = None, True
                green.task.cancel()
            elif nearest is None or end < nearest:
                nearest = end
        self._timer = None if nearest is None else loop.call_at(nearest, self._look)


def _wait_for(lock: Any, seconds: float) -> bool:
    """Acquire *lock*, which a thread or a greenlet may hold, while other greenlets continue."""
    if greenlet.getcurrent().parent is None:  # the loop itself must not wait
        return bool(lock.acquire(blocking=False))
    end = None if seconds < 0 else asyncio.get_running_loop().time() + seconds
    look = _FIRST_LOOK
    while not lock.acquire(blocking=False):
        left = look if end is None else min(look, end - asyncio.get_running_loop().time())
        if left <= 0:
            return False
        await_here(asyncio.sleep(left))
        look = min(look * 1.5, _LAST_LOOK)
    return True


@atexit.register
def _close_all() -> None:
    """End the threads while they can still run: later their connections would be destroyed under them."""
    for green in list(_running):
        while green.is_running:  # for a second at most, also if Ctrl-C comes again: greenlets crash in a process that has ended
            with contextlib.suppress(KeyboardInterrupt):
                green.close()
