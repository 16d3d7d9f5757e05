"""A word from another thread that a call is no longer wanted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hfclient.errors import Cancelled
from hfclient.forks import renew_in_children

__all__ = ["Cancellation"]


class Cancellation:
    """Ends, from any thread, whatever a call waits for: a pause, an answer's head, and all that would come after it.

    A body that is being read is not its business: whoever has the response aborts that.
    """

    def __init__(self) -> None:
        self._asked_for = threading.Event()
        self._wake: Callable[[], object] | None = None
        self._renew()
        renew_in_children(self)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        if not self._asked_for.is_set():  # it has a lock, too
            self._asked_for = threading.Event()

    @property
    def requested(self) -> bool:
        """Whether :meth:`cancel` has been called."""
        return self._asked_for.is_set()

    def cancel(self) -> None:
        """Wake up the thread that waits; it raises `Cancelled`. Returns at once; idempotent."""
        with self._lock:
            self._asked_for.set()
            if self._wake is not None:
                self._wake()

    def check(self) -> None:
        """Raise `Cancelled` if :meth:`cancel` has been called."""
        if self._asked_for.is_set():
            raise Cancelled("the call was cancelled")

    def pause(self, seconds: float) -> None:
        """Wait for *seconds*, unless it is cancelled meanwhile: then raise `Cancelled`."""
        if self._asked_for.wait(seconds):
            self.check()

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """While this lasts, :meth:`cancel` calls *wake*, which must return at once."""
        with self._lock:
            self._wake = wake
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._wake = None
