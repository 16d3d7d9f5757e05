"""The times of an answer that is still coming."""

from __future__ import annotations

import time

__all__ = ["Times"]


class Times:
    """When an answer began, and when something came.

    Args:
        earlier: Seconds that had passed before.

    Attributes:
        first: Seconds until the first event with content, or None.
    """

    def __init__(self, earlier: float = 0.0) -> None:
        self._last = time.monotonic()
        self._began = self._last - earlier
        self.first: float | None = None

    def content_came(self) -> None:
        """Record that text, reasoning or a step of a tool came."""
        self._last = time.monotonic()
        if self.first is None:
            self.first = self._last - self._began

    def silence(self) -> float:
        """Return the seconds since content came, or since the beginning."""
        return time.monotonic() - self._last

    def total(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self._began

    def in_words(self) -> str:
        """Return the time to the first token and the whole time."""
        first = "" if self.first is None else f"first token after {self.first:.1f} s · "
        return f"{first}{self.total():.1f} s"
