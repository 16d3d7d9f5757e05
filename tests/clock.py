"""A clock that only moves when a test moves it, and pauses that last until a test ends them."""

from __future__ import annotations

import threading

import pytest

from hfclient.transport import Cancellation


class FakeTime:
    """Replaces the module `time` for deadlines, those of `hfclient.deadline` too.

    Waits for a socket take the remaining time of the deadline in real time, unless the fixture ``silence`` ends them. The frozen
    clock prevents a deadline from passing because the machine is slow. A wait that has begun is not shortened by :meth:`advance`:
    call it in the thread that waits next, for example in its loop over the events, or before bytes that end the wait in progress.
    """

    def __init__(self) -> None:
        self._now = 1000.0

    def monotonic(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass. In a server's script: ``lambda request: clock.advance(5)``."""
        self._now += seconds


class Pauses:
    """Every pause of hfclient, before a retry or between two polls, lasts until the test sets `over` or the call is cancelled.

    Attributes:
        begun: Set by the first pause.
        over: Ends the pause in progress; those after it take their own time.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        self.over = threading.Event()
        pause = Cancellation.pause

        def hold(cancellation: Cancellation, seconds: float) -> None:
            self.begun.set()
            if self.over.is_set():
                pause(cancellation, seconds)
            while not self.over.is_set():
                pause(cancellation, 0.01)  # raises after a cancel

        monkeypatch.setattr(Cancellation, "pause", hold)


class PassingTime:
    """Time that a server's script lets pass during a call.

    Attributes:
        reading: Set when the caller reads the body of the response.
    """

    def __init__(self, clock: FakeTime) -> None:
        self.reading = threading.Event()
        self._clock = clock
        self._lock = threading.Lock()
        self._passes = True

    def stop(self) -> None:
        """End of the call; a script that has not noticed the end of its connection yet changes nothing from now on."""
        with self._lock:
            self._passes = False

    def advance(self, seconds: float) -> None:
        with self._lock:
            if self._passes:
                self._clock.advance(seconds)
