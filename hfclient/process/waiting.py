"""Waiting for a lock: blocks the thread, or lets other calls of the same thread continue.

A batch runs many calls in one thread. It sets a function that waits for such a thread; everything else blocks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["set_waiter", "wait_for"]


class _Thread(threading.local):
    waiter: Callable[[Any, float], bool] | None = None


_thread = _Thread()


def set_waiter(waiter: Callable[[Any, float], bool] | None) -> None:
    """Let *waiter* wait for locks in this thread, with the arguments of :func:`wait_for`; None blocks."""
    _thread.waiter = waiter


def wait_for(lock: Any, seconds: float) -> bool:
    """Acquire *lock* within *seconds*, negative for no limit; False if they passed."""
    seconds = min(seconds, threading.TIMEOUT_MAX)
    waiter = _thread.waiter
    taken: bool = lock.acquire(timeout=seconds) if waiter is None else waiter(lock, seconds)
    return taken
