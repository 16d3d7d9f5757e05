"""A switch that is set once."""

from __future__ import annotations

import threading

__all__ = ["Latch"]


class Latch:
    """A switch that any number of threads may set, and one of them does.

    Unlike a lock it never waits, so that signal handlers and finalizers, which may interrupt the very thread that
    sets it, can use it, too. After a fork it is as it was.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def set(self) -> bool:
        """Set it; True for the one caller that did."""
        return self._lock.acquire(blocking=False)
