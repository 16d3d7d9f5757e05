"""What a forked child does first with objects that hold locks.

A lock that another thread held when the process forked stays locked in the child for ever, because that thread is not
there to release it. So whoever holds locks that a child may need registers here and gets new ones.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Forkable", "reset_after_fork"]


class Forkable(Protocol):
    """An object with something in it that a forked child cannot use."""

    def _reset_after_fork(self) -> None:
        """Replace it: called in the child, before anything else runs there."""


_known: weakref.WeakSet[Forkable] = weakref.WeakSet()


def reset_after_fork(owner: Forkable) -> None:
    """Have ``owner._reset_after_fork()`` called in every child that is forked while *owner* lives."""
    _known.add(owner)


def _after_fork() -> None:
    for owner in list(_known):
        owner._reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
