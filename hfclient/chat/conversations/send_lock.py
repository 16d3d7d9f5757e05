"""Locks that order the messages of a conversation within this process.

`SendLock` belongs to one `Conversation` object and is held until the answer has ended. `exclusive` covers the time from
the read of a conversation to the message, for all objects of that conversation.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hfclient.errors import ConversationBusy, InvalidInputError
from hfclient.process.forks import reset_after_fork
from hfclient.process.once_flag import OnceFlag
from hfclient.transport.scope import acquire

__all__ = ["WAIT", "HeldLock", "SendLock", "checked_wait", "exclusive"]

WAIT = 60.0
"""Seconds that a message waits for earlier answers by default."""


def checked_wait(wait: float | None, total: float | None = None) -> float:
    """Return *wait* in seconds, infinite for None, and at most *total*, the deadline of the call.

    Raises:
        InvalidInputError: It is negative or not a number.
    """
    try:
        seconds = math.inf if wait is None else float(wait)  # numpy's numbers, too
    except OverflowError:  # an int above the largest float
        seconds = math.inf if (wait or 0) > 0 else -math.inf
    if not seconds >= 0:
        raise InvalidInputError(f"wait is a number of seconds, or None to wait without limit, not {wait!r}")
    seconds = math.inf if seconds > threading.TIMEOUT_MAX else seconds
    return seconds if total is None else min(seconds, total)


class SendLock:
    """Allows one message at a time in a conversation; held until the answer has ended."""

    def __init__(self) -> None:
        reset_after_fork(self._reset_after_fork)

    def _reset_after_fork(self) -> None:
        # In a forked child: the answer that is being read belongs to the parent, which cannot release the child's lock.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None  # not its id, which a later thread may have

    def locked(self) -> bool:
        """Whether an answer is being read."""
        return self._lock.locked()

    @contextmanager
    def hold(self, wait: float) -> Iterator[HeldLock]:
        """Acquire the lock. An exception in the block releases it; otherwise the caller does, with `HeldLock.release`.

        Args:
            wait: Seconds to wait for the lock, as `checked_wait` returns them.

        Raises:
            ConversationBusy: The previous answer is not complete: at once if this thread reads it, else after *wait*.
        """
        held = self._acquire(wait)
        try:
            yield held
        except BaseException:
            held.release()
            raise

    def _acquire(self, wait: float) -> HeldLock:
        until = time.monotonic() + wait
        lock = self._lock
        if not lock.acquire(blocking=False):
            if self._thread is threading.current_thread():
                raise ConversationBusy(
                    "this thread has not read the previous answer of this conversation to its end; read or close it first"
                )
            if not acquire(lock, _lock_timeout(wait)):
                raise ConversationBusy(f"another thread's answer in this conversation was not complete within {wait:g} s")
        self._thread = threading.current_thread()

        def release() -> None:
            self._thread = None
            lock.release()

        return HeldLock(release, until)


class HeldLock:
    """A `SendLock` that is held.

    Attributes:
        until: When the caller's wait for earlier answers is over, by `time.monotonic`.
    """

    def __init__(self, release: Callable[[], None], until: float) -> None:
        self.until = until
        self._release = release
        self._released = OnceFlag()

    def release(self) -> None:
        """Release the lock, from any thread; idempotent."""
        if self._released.set():
            self._release()


class _Locks:
    """One lock for each conversation that this process is about to send a message to."""

    def __init__(self) -> None:
        reset_after_fork(self._reset_after_fork)

    def _reset_after_fork(self) -> None:
        self._all: weakref.WeakValueDictionary[tuple[str, str], Any] = weakref.WeakValueDictionary()
        self._adding = threading.Lock()

    def get(self, base_url: str, conversation_id: str) -> Any:
        with self._adding:
            return self._all.setdefault((base_url, conversation_id), threading.Lock())


_locks = _Locks()


@contextmanager
def exclusive(base_url: str, conversation_id: str, until: float) -> Iterator[None]:
    """Exclude other objects and threads of this process that are about to send to the conversation.

    Raises:
        ConversationBusy: Another one still does at *until*.
    """
    lock = _locks.get(base_url, conversation_id)
    if not acquire(lock, _lock_timeout(until - time.monotonic())):
        raise ConversationBusy("another object of this process is about to send a message to this conversation")
    try:
        yield
    finally:
        lock.release()


def _lock_timeout(seconds: float) -> float:
    """Return *seconds* as `threading.Lock.acquire` takes them."""
    return -1 if seconds == math.inf else min(max(0.0, seconds), threading.TIMEOUT_MAX)
