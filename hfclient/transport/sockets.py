"""Sockets outside the libraries that own them."""

from __future__ import annotations

import functools
import math
import select
from collections.abc import Callable

__all__ = ["is_readable", "readable_now"]


def is_readable(descriptor: int, wait: float = 0.0) -> bool:
    """Return whether the socket has bytes, or its end, within *wait* seconds."""
    if hasattr(select, "poll"):  # Windows has none, and select() takes no numbers above 1023 elsewhere
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(math.ceil(wait * 1000)))
    return bool(select.select([descriptor], [], [], wait)[0])


def readable_now(descriptor: int) -> Callable[[], bool]:
    """Return `is_readable` without a wait as a function for this socket, in a third of the time."""
    if not hasattr(select, "poll"):
        return functools.partial(is_readable, descriptor)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return lambda: bool(poll.poll(0))
