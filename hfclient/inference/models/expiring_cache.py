"""Answers that are kept for a while: the Hub counts requests, and what it says does not change by the minute."""

from __future__ import annotations

import time
from typing import Any, Generic, TypeVar

__all__ = ["ExpiringCache"]

_V = TypeVar("_V")


class ExpiringCache(Generic[_V]):
    """A bounded memory by key, in which nothing grows old. Threads may share it: at worst two ask the same thing at once.

    Args:
        keep: How long an entry is used, in seconds.
        most: How many entries are kept; the oldest goes first.
    """

    def __init__(self, keep: float, *, most: int = 1000) -> None:
        self.keep = keep
        self.most = most
        self._known: dict[str, tuple[float, _V]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"keep": self.keep, "most": self.most, "_known": {}}  # another process has another clock

    def get(self, key: str) -> _V | None:
        """Return what is known under *key*, or None if nothing is, or not any more."""
        found = self._known.get(key)
        if found is None or time.monotonic() - found[0] >= self.keep:
            return None
        return found[1]

    def put(self, key: str, value: _V) -> _V:
        """Keep *value* under *key* and return it."""
        self._known.pop(key, None)
        while len(self._known) >= self.most:
            oldest = next(iter(list(self._known)), None)
            if oldest is None:
                break
            self._known.pop(oldest, None)
        self._known[key] = (time.monotonic(), value)
        return value

    def forget(self, key: str) -> None:
        """Know nothing about *key* any more."""
        self._known.pop(key, None)

    def clear(self) -> None:
        """Know nothing any more."""
        self._known.clear()
