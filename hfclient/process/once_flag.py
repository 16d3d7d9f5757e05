"""A flag that is set once."""

from __future__ import annotations

import threading

__all__ = ["OnceFlag"]


class OnceFlag:
    """A flag that one of any number of threads sets.

    It never waits, unlike a lock, so it is safe in signal handlers and finalizers, which may interrupt the thread that sets
    it. A fork does not change it.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def set(self) -> bool:
        """Set the flag; True for the one caller that has set it."""
        return self._lock.acquire(blocking=False)
