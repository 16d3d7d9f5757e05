"""Ticks: waits of a reader that end after some seconds, although what it waits for continues.

A read of a response's body is interrupted and continued by the transport (`hfclient.transport.deadline.Tick`). An answer has
other waits as well: retries, another provider, a tool's function. For these a `Puller` runs a step in a helper thread, and the
reader waits for the thread. Under gevent that thread is a greenlet.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import enum
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar

import hfclient.redaction.logs  # noqa: F401 (installs the filter of the loggers)
from hfclient.errors import InvalidInputError, StreamInterrupted
from hfclient.process.forks import reset_after_fork
from hfclient.process.garbage_collection import in_gc_finalizer
from hfclient.transport.scope import Scope, in_scope

__all__ = ["TICK", "Puller", "TickType", "Ticking", "apart", "checked_seconds", "ticks"]

_log = logging.getLogger("hfclient")
_T = TypeVar("_T")
_E_co = TypeVar("_E_co", covariant=True)
_MAX_SECONDS = 1e8  # three years
_LEAVE = 2.0  # seconds that a reader waits for the helper thread when it leaves
_JOIN = 0.5  # seconds for the end of a thread that has nothing left to do


class _Tick(enum.Enum):
    TICK = "tick"


TickType: TypeAlias = Literal[_Tick.TICK]
TICK: Final = _Tick.TICK
"""Nothing came in time."""


def checked_seconds(seconds: float) -> float:
    """Return *seconds* between two ticks.

    Raises:
        InvalidInputError: It is not a positive number.
    """
    if isinstance(seconds, bool) or not (isinstance(seconds, (int, float)) and 0 < seconds <= _MAX_SECONDS):
        raise InvalidInputError(f"ticks() takes a positive number of seconds, not {seconds!r}")
    return float(seconds)


class Puller(Generic[_T]):
    """Advances an iterator in a thread of its own, so that the reader can wait for at most some seconds.

    There is one thread at most, and one pull at a time, which the reader has asked for: nothing is read ahead. Each pull
    runs in a copy of the reader's context.

    The thread stores an outcome and then releases ``_done``; the reader looks for the outcome first, so an exception at any
    place, such as Ctrl-C, loses nothing.
    """

    def __init__(self) -> None:
        self._asked = False  # a pull was begun and its outcome was not taken
        self._jobs: list[tuple[contextvars.Context, Iterator[_T]]] = []  # for the thread; one at most
        self._source: Iterator[_T] | None = None
        self._outcome: tuple[_T | None, BaseException | None] | None = None
        self._left = False
        self._then: Callable[[], object] | None = None
        reset_after_fork(self._reset_after_fork)

    def _reset_after_fork(self) -> None:
        self._is_lost = self._asked and self._outcome is None  # a forked child does not have the thread
        self._thread: threading.Thread | None = None
        self._go, self._done = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._done.acquire()

    @property
    def is_asked(self) -> bool:
        """Whether a pull was begun whose outcome was not taken."""
        return self._asked

    @property
    def is_working(self) -> bool:
        """Whether a pull is in progress: the helper thread uses the iterator."""
        return self._asked and self._outcome is None and not self._is_lost

    def is_own_thread(self) -> bool:
        """Whether the caller is the helper thread, in a callback of the iterator."""
        return self._thread is not None and self._thread.ident == threading.get_ident()

    def next(self, source: Iterator[_T], seconds: float | None) -> _T | TickType | None:
        """Return the next item of *source*, None at its end, `TICK` if none has come after *seconds*; raise what it raises."""
        if not self._asked:
            if seconds is None or not self._start():
                return next(source, None)
            self._source, self._asked = source, True
            self._jobs.append((contextvars.copy_context(), source))
            self._go.release()
        elif self._is_lost:
            raise StreamInterrupted("the answer broke off: it was being read in the process that this one was forked from")
        while self._outcome is None:
            if not self._done.acquire(timeout=-1 if seconds is None else seconds):
                return TICK
        item, error = self._outcome
        self._asked, self._outcome, self._source = False, None, None
        if error is None:
            return item
        try:
            raise error
        finally:
            del error  # it would reference its own traceback

    def ready(self) -> _T | None:
        """Return an item that has come since the last tick, or None. Never waits."""
        if not self._asked or self._outcome is None or (item := self._outcome[0]) is None:
            return None
        self._asked, self._outcome, self._source = False, None, None
        return item

    def rest(self, idle: float, total: float, is_alive: Callable[[], bool]) -> Iterator[_T]:
        """Yield what the pull in progress and those after it return, until one fails.

        Args:
            idle: Seconds without an item after which it ends, unless *is_alive* returns True.
            total: Seconds after which it ends.
            is_alive: Whether there was a sign of life since it was called last.
        """
        source, end = self._source, time.monotonic() + total
        while source is not None and (left := end - time.monotonic()) > 0:
            try:
                item = self.next(source, min(idle, left))
            except Exception as error:  # noqa: BLE001 (the answer is left)
                _log.debug("reading after a stop: %s", type(error).__name__)
                return
            if item is None:
                return
            if item is not TICK:
                yield item
            elif not is_alive():
                return

    def leave(self, wake: Callable[[], object], then: Callable[[], object]) -> bool:
        """End the thread; True if it no longer uses the iterator. Idempotent.

        Args:
            wake: Ends the wait of a pull in progress, from any thread.
            then: Called by the thread when it has left the iterator, if the caller did not wait for that.
        """
        is_first, self._left = not self._left, True
        if is_first and self.is_working:
            self._then = then  # before anything that can be interrupted
            with contextlib.suppress(IndexError):
                self._jobs.pop()  # the thread did not get it
                self._outcome = None, None
            if self.is_working:
                wake()
            if not in_gc_finalizer() and not self.is_own_thread():
                end = time.monotonic() + _LEAVE
                while self.is_working and (left := end - time.monotonic()) > 0:
                    self._done.acquire(timeout=left)
        if is_first:
            with contextlib.suppress(RuntimeError):
                self._go.release()
        if self.is_working:
            return False
        self._outcome = (None, None) if self._asked else None  # an error references the frames of the iterator
        self._then = None  # the caller references this object
        if is_first and self._thread is not None and not in_gc_finalizer() and not self.is_own_thread():
            self._thread.join(_JOIN)
        return True

    def _start(self) -> bool:
        if self._thread is not None:
            return True
        # A daemon thread: a callback that hangs must not block the end of the program.
        thread = threading.Thread(target=self._work, name="hfclient-ticks", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # too many, or the interpreter shuts down
            _log.warning("there are no ticks: %s", error)
            return False
        self._thread = thread
        return True

    def _work(self) -> None:
        while True:
            self._go.acquire()
            try:
                context, source = self._jobs.pop()
            except IndexError:
                return
            try:
                outcome: tuple[_T | None, BaseException | None] = context.run(next, source, None), None
            except BaseException as error:  # noqa: BLE001 (raised again in the reader's thread)
                outcome = None, error
            del context, source  # if the reader has left, this closes the iterator
            self._outcome = outcome
            del outcome
            with contextlib.suppress(RuntimeError):
                self._done.release()
            if self._left:
                if (then := self._then) is not None:
                    then()
                return


def apart(
    call: Callable[[], _T], seconds: float, *, cancel: Callable[[], object], drop: Callable[[_T], object]
) -> Generator[None, None, _T]:
    """Run *call* in a helper thread and return its result; yield None each time that it has not returned for *seconds*.

    Args:
        call: Runs once.
        seconds: Between two ticks.
        cancel: Ends *call*, from any thread, when the generator is closed.
        drop: Gets a result that came after that.
    """
    made: list[_T] = []

    def run() -> Iterator[bool]:
        made.append(call())
        yield True

    def drop_made() -> None:
        with contextlib.suppress(IndexError):  # two threads may do this at once
            drop(made.pop())

    puller: Puller[bool] = Puller()
    source = run()
    pending = cancel, lambda: puller.leave(cancel, drop_made)
    _pending.add(pending)
    try:
        while puller.next(source, seconds) is TICK:
            yield None
        return made.pop()
    finally:
        _pending.discard(pending)
        puller.leave(cancel, drop_made)
        drop_made()


_pending: set[tuple[Callable[[], object], Callable[[], object]]] = set()  # how to cancel and to leave each call


@atexit.register
def _at_exit() -> None:
    """Cancel the calls in progress when the process ends: a generation that may have begun is stopped then."""
    calls, end = list(_pending), time.monotonic() + _LEAVE
    for cancel, _ in calls:
        cancel()
    for _, leave in calls:
        if time.monotonic() < end:
            leave()


class Ticking(Protocol[_E_co]):
    """A `Stream`, or another answer that is read with ticks."""

    def ticks(self, seconds: float) -> Iterator[_E_co | None]:
        """Yield its events; None each time that nothing came for *seconds*."""

    def close(self) -> None:
        """Leave it; idempotent."""


def ticks(open: Callable[[], Ticking[_T]], seconds: float) -> Iterator[_T | None]:
    """Open a stream and yield its events; None each time that nothing came for *seconds*, also before the answer begins.

        for event in hfclient.ticks(lambda: client.chat(prompt), 1.0):
            if event is None:
                send(": ping")

    A call such as ``client.chat`` returns when the server has accepted the request, which may take as long as the answer. Here it
    runs in a helper thread, in a copy of the caller's context, from the first step of the iterator on. Its error is raised
    by the iterator. Leaving the iterator (``break``, ``close()``, an exception) cancels the call, or closes its stream.

    Args:
        open: Returns a stream, such as ``lambda: conversation.send(prompt)``.
        seconds: Between two ticks; see `Stream.ticks`.

    Raises:
        InvalidInputError: *seconds* is not a positive number, or *open* is not a function that returns a stream.
    """
    seconds = checked_seconds(seconds)
    if not callable(open):
        raise InvalidInputError(f"ticks() takes a function that returns a stream, not {open!r}")
    return _ticks(open, seconds, contextvars.copy_context(), Scope())


def _ticks(
    call: Callable[[], Ticking[_T]], seconds: float, context: contextvars.Context, scope: Scope
) -> Iterator[_T | None]:
    def opened() -> Ticking[_T]:
        with in_scope(scope):
            return call()

    source = yield from apart(lambda: context.run(opened), seconds, cancel=scope.cancel, drop=_close)
    if not callable(getattr(source, "ticks", None)):
        _close(source)
        raise InvalidInputError(f"ticks() takes a function that returns a stream, not one that returns {type(source).__name__}")
    with contextlib.closing(source):
        yield from source.ticks(seconds)


def _close(source: Any) -> None:
    try:
        if callable(close := getattr(source, "close", None)):
            close()
    except Exception as error:  # noqa: BLE001 (there is no reader)
        _log.info("closing a stream without a reader: %s", type(error).__name__)
