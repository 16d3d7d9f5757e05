"""Whether the garbage collector runs in this thread.

The collector calls the finalizers of a reference cycle in any order, between any two instructions of any thread. So a
finalizer must not reuse anything: a connection that it returns to the pool may be closed by the next finalizer of the same
collection. It must not wait either.

Reference: PEP 442; https://docs.python.org/3/library/gc.html#gc.callbacks
"""

from __future__ import annotations

import gc
import threading
from typing import Any

__all__ = ["in_gc_finalizer"]

_thread: int | None = None  # the thread that collects; never more than one


def in_gc_finalizer() -> bool:
    """Whether the caller is a finalizer that the garbage collector runs."""
    return _thread is not None and _thread == threading.get_ident()


def _note(phase: str, info: dict[str, Any]) -> None:
    global _thread  # noqa: PLW0603 (state of the process)
    _thread = threading.get_ident() if phase == "start" else None


if hasattr(gc, "callbacks"):  # CPython
    gc.callbacks.append(_note)
