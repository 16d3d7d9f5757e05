"""`Scheduler`: one thread that calls functions now or later."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable

__all__ = ["Scheduler"]

_log = logging.getLogger("hfclient.web")
_IDLE = 5.0  # seconds without work after which the thread ends


class Scheduler:
    """Calls functions in a thread of its own, one after the other. The thread starts with the first one, and ends when it has had none for a while.

    Args:
        name: The thread's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.reset()

    def reset(self) -> None:
        """Forget everything, as in a forked child, which does not have the thread."""
        self._changed = threading.Condition(threading.Lock())
        self._soon: deque[Callable[[], object]] = deque()
        self._later: list[tuple[float, int, Callable[[], object]]] = []
        self._count = itertools.count()
        self._thread: threading.Thread | None = None
        self._sleeping_until = 0.0

    def soon(self, call: Callable[[], object]) -> bool:
        """Call *call* as soon as possible; False if no thread can start now: then the next call of a method tries again."""
        with self._changed:
            self._soon.append(call)
            return self._wake(0.0)

    def later(self, seconds: float, call: Callable[[], object]) -> bool:
        """Call *call* in *seconds*; False as for `soon`."""
        when = time.monotonic() + seconds
        with self._changed:
            heapq.heappush(self._later, (when, next(self._count), call))
            return self._wake(when)

    def check(self) -> None:
        """Start the thread if it has something to call and could not start before."""
        if self._thread is None and (self._soon or self._later):
            with self._changed:
                self._wake(0.0)

    def _wake(self, when: float) -> bool:
        if self._thread is None:
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the system has no thread to spare, or the interpreter shuts down
                _log.warning("the relay cannot start its thread, and tries again with the next event: %s", error)
                return False
            self._thread = thread
        elif when < self._sleeping_until:
            self._sleeping_until = when
            self._changed.notify()
        return True

    def _work(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except Exception:  # noqa: BLE001 (one failure must not end the leases of all other runs)
                _log.exception("an error in the relay")

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            while True:
                if self._soon:
                    return self._soon.popleft()
                now = time.monotonic()
                if self._later and self._later[0][0] <= now:
                    return heapq.heappop(self._later)[2]
                until = self._later[0][0] if self._later else now + _IDLE
                self._sleeping_until = until
                if not self._changed.wait(until - now) and not self._later and not self._soon:
                    self._thread = None
                    return None
                self._sleeping_until = 0.0
