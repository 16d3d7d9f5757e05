"""`deadline`: one deadline and one cancellation for all calls in a block.

The scope of a block is a context variable. A `Cancellation` belongs to one call and remembers the scope in which it was made, so
a stream keeps its scope after the block, and in other threads.
"""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Protocol

from hfclient.display import shorten
from hfclient.errors import Cancelled, InvalidInputError, TransportTimeout
from hfclient.process.waiting import wait_for

__all__ = ["Scope", "acquire", "current_scope", "deadline", "in_scope", "no_scope"]

_MAX_SECONDS = 1e8  # three years
_SLICE = 0.1  # seconds after which a wait for a lock notices that its scope was cancelled

_current: ContextVar[Scope | None] = ContextVar("hfclient_scope", default=None)
current_scope = _current.get
"""Return the scope of the innermost block, or None."""


class _Cancellable(Protocol):
    """A call, a stream or a nested scope."""

    def cancel(self) -> None:
        """End its waits, from any thread."""


class Scope:
    """What :func:`deadline` returns: the calls of a block.

    Attributes:
        end: Time of the deadline, by `time.monotonic`; None for no limit.
        seconds: Seconds from the start of the block, or of an outer one with a nearer end, to the deadline.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = seconds
        self.end = None if seconds is None else time.monotonic() + seconds
        self._is_cancelled = False
        self._calls: weakref.WeakSet[_Cancellable] = weakref.WeakSet()
        outer = current_scope()
        if outer is None:
            return
        if outer.end is not None and (self.end is None or outer.end < self.end):
            self.end, self.seconds = outer.end, outer.seconds
        if outer.add(self):
            self._is_cancelled = True

    def __repr__(self) -> str:
        return f"<Scope {'cancelled' if self._is_cancelled else self.name}>"

    @property
    def name(self) -> str:
        """The limit, for messages."""
        return f"hfclient.deadline({self.seconds or 0.0:g})"

    def remaining(self) -> float | None:
        """Return the seconds until the deadline, at least 0; None for no limit."""
        return None if self.end is None else max(0.0, self.end - time.monotonic())

    def cancel(self) -> None:
        """Cancel the calls and the streams of the block, and those to come, from any thread; they raise `Cancelled`.

        A chat's generation is stopped as by ``stream.cancel()``. Idempotent.
        """
        self._is_cancelled = True  # before the calls are listed: a call that begins meanwhile looks at it
        for call in self._listed():
            call.cancel()

    def add(self, call: _Cancellable) -> bool:
        """Let :meth:`cancel` cancel *call*, while it exists; True if that has been called before."""
        self._calls.add(call)
        return self._is_cancelled

    def check(self) -> None:
        """Raise `Cancelled` after :meth:`cancel`, `TransportTimeout` after the deadline."""
        if self._is_cancelled:
            raise Cancelled("the call was cancelled")
        if self.end is not None and time.monotonic() >= self.end:
            seconds = self.seconds or 0.0
            raise TransportTimeout(f"no complete answer within {seconds:g} s ({self.name})", deadline="total", seconds=seconds)

    def _listed(self) -> list[_Cancellable]:
        while True:
            try:
                return list(self._calls)
            except RuntimeError:  # another thread has just added one
                continue


@contextlib.contextmanager
def deadline(seconds: float | None = None) -> Iterator[Scope]:
    """Give all calls in a block one total deadline and one cancellation.

        with hfclient.deadline(25) as scope:
            conversation = client.conversation(thread_id)
            title = client.inference.chat(prompt).text
            stream = conversation.send(title)

    The deadline covers chat and inference, with retries, pauses, look-ups and other providers; the ``Timeouts`` of each call
    apply as well. A call that is not complete then raises `TransportTimeout` with ``deadline="total"``. A stream that was
    opened in the block keeps the deadline after it. Of nested blocks the nearest end counts. Requests that stop a generation
    or a job have their own time.

    The block applies to its own thread or task, to the threads of ``run_tools`` and of ``ticks()``, and to what
    `contextvars.copy_context` carries further. It works as a decorator, too.

    Args:
        seconds: From now on, in seconds; None for a cancellation without a deadline.

    Raises:
        InvalidInputError: *seconds* is not a positive number.
    """
    if seconds is not None and (
        isinstance(seconds, bool) or not (isinstance(seconds, (int, float)) and 0 < seconds <= _MAX_SECONDS)
    ):
        raise InvalidInputError(f"deadline() takes a positive number of seconds, or None, not {seconds!r}")
    scope = Scope(None if seconds is None else float(seconds))
    with in_scope(scope):
        yield scope


@contextlib.contextmanager
def in_scope(scope: Scope | None) -> Iterator[None]:
    """Make *scope* the one of the calls in a block."""
    token = _current.set(scope)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # a generator that was begun in another context is closed
            _current.reset(token)


def no_scope() -> contextlib.AbstractContextManager[None]:
    """Return a context for requests with a time of their own, such as a stop: no deadline and no cancellation of a block."""
    return in_scope(None)


def acquire(lock: Any, seconds: float) -> bool:
    """Acquire *lock* within *seconds*, negative for no limit; False if they passed.

    Raises:
        Cancelled, TransportTimeout: The scope was cancelled, or its deadline passed.
    """
    try:
        return _acquire(lock, seconds)
    except KeyboardInterrupt as interrupt:
        shorten(interrupt)
        raise


def _acquire(lock: Any, seconds: float) -> bool:
    scope = current_scope()
    if scope is None or lock.acquire(blocking=False):
        return scope is not None or wait_for(lock, seconds)
    end = time.monotonic() + seconds
    while True:
        scope.check()
        wait = _SLICE if (left := scope.remaining()) is None else min(_SLICE, left)
        if seconds >= 0:
            wait = min(wait, max(0.0, end - time.monotonic()))
        if wait_for(lock, wait):
            return True
        if seconds >= 0 and time.monotonic() >= end:
            return False
