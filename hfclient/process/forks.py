"""Objects that are reset in a forked child.

A lock that another thread held when the process forked stays locked in the child forever, because that thread does not exist
there. So an object with locks that a child may need registers here, and creates new locks in the child.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Forkable", "fork_count", "reset_after_fork"]

fork_count = 0
"""Number of forks between the process that imported this module and this one."""


class Forkable(Protocol):
    """An object that a forked child cannot use as it is."""

    def _reset_after_fork(self) -> None:
        """Make its locks: called at first, and in the child before other code runs there."""


_known: weakref.WeakSet[Forkable] = weakref.WeakSet()


def reset_after_fork(owner: Forkable) -> None:
    """Call ``owner._reset_after_fork()`` now, and in each child that is forked while *owner* exists."""
    owner._reset_after_fork()
    _known.add(owner)


def _after_fork() -> None:
    global fork_count  # noqa: PLW0603 (a fact about the process)
    fork_count += 1
    for owner in list(_known):
        owner._reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
