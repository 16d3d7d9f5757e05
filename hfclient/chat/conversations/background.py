"""Short requests in threads of their own, such as stopping a generation, and the end of the process."""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

__all__ = ["STOP_BUDGET", "close_at_exit", "in_background"]

STOP_BUDGET = 2.0
"""Maximum total seconds of a stop."""

_T = TypeVar("_T")

_log = logging.getLogger("hfclient")
_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


class _ClosedAtExit(Protocol):
    """A stream that has to be closed before the process ends."""

    def _close_at_exit(self, budget: float) -> None:
        """Stop the generation and free the connection, within *budget* seconds."""


_open: weakref.WeakSet[_ClosedAtExit] = weakref.WeakSet()


def close_at_exit(stream: _ClosedAtExit) -> None:
    """Call ``stream._close_at_exit`` when the process ends, if the stream still exists then."""
    _open.add(stream)


@atexit.register
def _at_exit() -> None:
    """Close all streams while that is possible: no thread can start once the interpreter shuts down.

    Also waits for stops in background threads (after Ctrl-C, say); in all for at most their budget.
    """
    end = time.monotonic() + STOP_BUDGET
    for stream in _members(_open):
        if (left := end - time.monotonic()) > 0:
            try:
                stream._close_at_exit(left)
            except Exception as error:  # noqa: BLE001 (no caller is left that could handle it)
                _log.debug("closing a stream at the end of the process: %s", type(error).__name__)
    for thread in _members(_threads):
        thread.join(max(0.0, end - time.monotonic()))


def _members(known: weakref.WeakSet[_T]) -> list[_T]:
    while True:
        try:
            return list(known)
        except RuntimeError:  # a daemon thread has just added one
            continue


def in_background(call: Callable[..., object], *args: Any) -> threading.Thread | None:
    """Call it in the returned thread; the end of the process waits for that thread.

    If no thread can start any more, it is called in this one and the result is None.

    A finalizer or a signal handler may have interrupted a thread that holds a lock which a request needs, so neither of
    them may send a request itself.
    """
    if sys.is_finalizing():  # a stream found to be garbage only now; a thread would never begin
        return None
    thread = threading.Thread(target=call, args=args, name="hfclient-stop", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # since Python 3.12, once the main thread has ended
        call(*args)
        return None
    _threads.add(thread)
    return thread
