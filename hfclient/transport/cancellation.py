"""Cancelling a call from another thread or from a signal handler."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from hfclient.display import shorten
from hfclient.errors import Cancelled
from hfclient.process.forks import reset_after_fork
from hfclient.process.waiting import wait_for
from hfclient.transport.scope import current_scope

__all__ = ["Cancellation"]


class Cancellation:
    """Ends the waits of a call from any thread: pauses and waits for the headers of a response.

    ``Response.abort`` ends the reading of a body.

    Attributes:
        scope: The block of `hfclient.deadline` that the call was made in, or None.
    """

    def __init__(self) -> None:
        self._requested = False
        self._wake: Callable[[], object] | None = None
        reset_after_fork(self._reset_after_fork)
        self.scope = current_scope()
        if self.scope is not None and self.scope.add(self):
            self.cancel()

    def _reset_after_fork(self) -> None:
        # Released once it is requested. Not an Event: that has a lock inside, and a signal handler that cancels may have
        # interrupted the thread that holds it. Each step here is atomic, and their order leaves no gap.
        self._gate = threading.Lock()
        if not self._requested:
            self._gate.acquire()

    @property
    def requested(self) -> bool:
        """Whether :meth:`cancel` has been called."""
        return self._requested

    def cancel(self) -> None:
        """Wake up the threads that wait; they raise `Cancelled`. Returns at once; idempotent. May be called at any moment."""
        self._requested = True
        with contextlib.suppress(RuntimeError):  # it is released already
            self._gate.release()
        if (wake := self._wake) is not None:
            wake()

    def check(self) -> None:
        """Raise `Cancelled` if :meth:`cancel` has been called."""
        if self._requested:
            raise Cancelled("the call was cancelled")

    def pause(self, seconds: float) -> None:
        """Wait for *seconds*, unless it is cancelled meanwhile: then raise `Cancelled`.

        Raises:
            TransportTimeout: The deadline of the scope passed before or during the wait.
        """
        if self.scope is not None and (left := self.scope.remaining()) is not None:
            seconds = min(seconds, left)
        try:
            if not self._requested and wait_for(self._gate, max(0.0, seconds)):
                with contextlib.suppress(RuntimeError):
                    self._gate.release()  # other threads may wait, too
        except KeyboardInterrupt as interrupt:
            shorten(interrupt)
            raise
        self.check()
        if self.scope is not None:
            self.scope.check()

    def waking(self, wake: Callable[[], object]) -> AbstractContextManager[None]:
        """Let :meth:`cancel` call *wake* while the block runs, and perhaps just after it. *wake* must return at once."""
        return _Waking(self, wake)


class _Waking(AbstractContextManager[None]):
    __slots__ = ("_cancellation", "_outer", "_wake")

    def __init__(self, cancellation: Cancellation, wake: Callable[[], object]) -> None:
        self._cancellation = cancellation
        self._wake = wake

    def __enter__(self) -> None:
        cancellation = self._cancellation
        self._outer, cancellation._wake = cancellation._wake, self._wake  # before the check, so that a concurrent cancel() finds it
        if cancellation.requested:
            cancellation._wake = self._outer
            cancellation.check()

    def __exit__(self, *exc_info: object) -> None:
        self._cancellation._wake = self._outer
