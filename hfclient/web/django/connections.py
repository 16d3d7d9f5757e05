"""Connections to the application's databases in threads of hfclient."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import connections

__all__ = ["without_connections"]

_T = TypeVar("_T")


def without_connections(call: Callable[..., _T]) -> Callable[..., _T]:
    """Return *call*, which then closes the connections that it has opened, unless it runs in this thread or in a transaction."""
    caller = threading.current_thread()  # not its id, which a later thread may have

    def closing(*args: Any, **options: Any) -> _T:
        try:
            return call(*args, **options)
        finally:
            if threading.current_thread() is not caller:
                for connection in connections.all(initialized_only=True):
                    if not connection.in_atomic_block:  # stop() may call on_end in a view
                        connection.close()

    return closing
