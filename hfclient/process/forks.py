"""Objects that are reset in a forked child.

A lock that another thread held when the process forked stays locked in the child forever, because that thread does not exist
there. So an object with locks that a child may need registers here, and creates new locks in the child.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["fork_count", "reset_after_fork"]

fork_count = 0
"""Number of forks between the process that imported this module and this one."""


_known: weakref.WeakKeyDictionary[object, Callable[[Any], object]] = weakref.WeakKeyDictionary()


def reset_after_fork(reset: Any) -> None:
    """Call *reset* now, and in each child before other code runs there, if its object still exists.

    Args:
        reset: A method without arguments, bound to an object, that makes new locks.
    """
    reset()
    _known[reset.__self__] = reset.__func__


def _after_fork() -> None:
    global fork_count  # noqa: PLW0603 (a fact about the process)
    fork_count += 1
    for owner, reset in list(_known.items()):
        reset(owner)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
