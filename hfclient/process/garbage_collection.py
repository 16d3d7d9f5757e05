"""Whether the garbage collector runs in this thread.

The collector calls the finalizers of a reference cycle in any order, between any two instructions of any thread. So a
finalizer must not reuse anything: a connection that it returns to the pool may be closed by the next finalizer of the same
collection. It must not wait either.

Reference: PEP 442; https://docs.python.org/3/library/gc.html#gc.callbacks
"""

from __future__ import annotations

import functools
import gc
import sys
import threading
from collections import OrderedDict
from typing import Any

__all__ = ["in_gc_finalizer"]



def _thread_local() -> Any:
    """Return storage of the operating system's threads: that of gevent's greenlets raises while a process ends."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return threading.local() if monkey is None else monkey.get_original("threading", "local")()


# The collector's callbacks are functions of C. One in Python would be a place where the interpreter runs the handlers of signals,
# and the collector prints and ignores what a callback raises: now and then a Ctrl-C would be lost.
_phases = OrderedDict.fromkeys(("start", "stop"))  # the present one is the last
_newest: dict[str, Any] = {}  # by phase, the object that all callbacks of one call get
_own = _thread_local()  # the same for the collections of each thread


def in_gc_finalizer() -> bool:
    """Whether the caller is a finalizer that the garbage collector runs."""
    return next(reversed(_phases)) == "start" and getattr(_own, "start", None) is _newest.get("start")


if hasattr(gc, "callbacks"):  # CPython; each is called with the phase and a dict
    _move_to_end: Any = _phases.move_to_end  # a dict that is not empty is true
    gc.callbacks += [_newest.__setitem__, functools.partial(setattr, _own), _move_to_end]
