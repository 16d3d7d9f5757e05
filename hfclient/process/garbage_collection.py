"""Whether the garbage collector is at work in this thread.

It calls the finalizers of a reference cycle in no particular order, and may do so between any two steps of any thread.
What such a finalizer ends (a stream that was dropped, say) must therefore not be handed on: a connection that goes back
to its pool may be closed by the next finalizer of the same collection. Nor must anything be waited for.

Reference: PEP 442; https://docs.python.org/3/library/gc.html#gc.callbacks
"""

from __future__ import annotations

import gc
import threading
from typing import Any

__all__ = ["in_gc_finalizer"]

_thread: int | None = None  # the one that collects; there is never more than one


def in_gc_finalizer() -> bool:
    """Whether this is called by a finalizer that the garbage collector has called."""
    return _thread is not None and _thread == threading.get_ident()


def _note(phase: str, info: dict[str, Any]) -> None:
    global _thread  # noqa: PLW0603 (a fact about the process)
    _thread = threading.get_ident() if phase == "start" else None


if hasattr(gc, "callbacks"):  # CPython
    gc.callbacks.append(_note)
