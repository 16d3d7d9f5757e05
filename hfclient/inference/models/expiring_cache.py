"""A cache whose entries expire: the Hub limits the number of requests, and its data change slowly."""

from __future__ import annotations

import time
from typing import Any, Generic, TypeVar

__all__ = ["ExpiringCache"]

_V = TypeVar("_V")


class ExpiringCache(Generic[_V]):
    """A bounded cache whose entries expire. Threads may share it: at worst two fetch the same entry at once.

    Args:
        keep: How long an entry is used, in seconds.
        most: Maximum number of entries; the oldest one is removed first.
    """

    def __init__(self, keep: float, *, most: int = 1000) -> None:
        self.keep = keep
        self.most = most
        self._known: dict[str, tuple[float, _V]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"keep": self.keep, "most": self.most, "_known": {}}  # the times are of this process's clock

    def get(self, key: str) -> _V | None:
        """Return the entry of *key*, or None if it does not exist or has expired."""
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
        """Remove the entry of *key*."""
        self._known.pop(key, None)

    def clear(self) -> None:
        """Remove all entries."""
        self._known.clear()
