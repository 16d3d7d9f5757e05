"""A clock that only moves when a test moves it."""

from __future__ import annotations


class FakeTime:
    """Replaces the module `time` for deadlines.

    Waits for a socket take the remaining time of the deadline in real time. The frozen clock prevents a deadline from passing
    because the machine is slow.
    """

    def __init__(self) -> None:
        self._now = 1000.0

    def monotonic(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass. In a server's script: ``lambda request: clock.advance(5)``."""
        self._now += seconds
