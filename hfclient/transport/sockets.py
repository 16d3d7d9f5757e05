"""Sockets outside the libraries that own them."""

from __future__ import annotations

import math
import select

__all__ = ["is_readable"]


def is_readable(descriptor: int, wait: float = 0.0) -> bool:
    """Return whether the socket has bytes, or its end, within *wait* seconds."""
    if hasattr(select, "poll"):  # Windows has none, and select() takes no numbers above 1023 elsewhere
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(math.ceil(wait * 1000)))
    return bool(select.select([descriptor], [], [], wait)[0])
