"""A clock that only moves when a test moves it."""

from __future__ import annotations


class FakeTime:
    """Stands in for the module `time` where deadlines are counted.

    Waits for a socket last as long as the deadline said when they began, in real time: what a frozen clock spares a test
    is a deadline that passes because the machine was slow.
    """

    def __init__(self) -> None:
        self._now = 1000.0

    def monotonic(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass. In a server's script: ``lambda request: clock.advance(5)``."""
        self._now += seconds
