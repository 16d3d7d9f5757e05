"""Objects that are reset in a forked child, where a lock that another thread held stays locked, and threads do not exist."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["reset_after_fork"]

_known: weakref.WeakKeyDictionary[object, Callable[[Any], object]] = weakref.WeakKeyDictionary()


def reset_after_fork(reset: Any) -> None:
    """Call *reset*, a method without arguments, in each child before other code runs there, if its object still exists."""
    _known[reset.__self__] = reset.__func__


def _after_fork() -> None:
    for owner, reset in list(_known.items()):
        reset(owner)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
