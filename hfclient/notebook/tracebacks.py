"""Tracebacks in IPython: the caller's own lines, without those of hfclient and of the libraries below it.

IPython shows what ``_render_traceback_`` of an exception returns. ``%xmode Verbose`` shows all frames, and ``%debug`` has them.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from IPython import get_ipython

from hfclient.errors import HFClientError

__all__ = ["short_traceback"]

_BELOW = sys.stdlib_module_names | {"certifi", "curl_cffi", "idna", "requests", "socks", "urllib3"}
_IPYTHON = {"IPython", "decorator", "ipykernel", "traitlets"}


def short_traceback(error: BaseException | None, *, has_answer: bool = False) -> list[str]:
    """Return the lines of the traceback of *error*, for a running IPython.

    Args:
        error: The exception; None takes the one that is being handled.
        has_answer: An answer was being read. Errors of hfclient say it themselves.
    """
    error = error or sys.exc_info()[1] or KeyboardInterrupt()
    shell: Any = get_ipython()
    if shell is None:
        return []
    formatter = shell.InteractiveTB
    kind, trace = type(error), error.__traceback__
    if getattr(formatter, "mode", "") in ("Verbose", "Docs"):
        return list(formatter.structured_traceback(kind, error, trace))
    own = _own_frames(trace)
    is_interrupt = isinstance(error, KeyboardInterrupt)
    chain = error.__cause__, error.__context__, error.__suppress_context__
    try:
        if not any(_own_frames(other.__traceback__) for other in chain[:2] if other is not None):
            error.__cause__ = error.__context__ = None  # they were raised and caught below the caller
        if own is None:
            lines = list(formatter.get_exception_only(kind, error))
        else:
            # The last argument, the number of lines around each frame, has another name in each version.
            lines = list(formatter.structured_traceback(kind, error, own, 0, 2 if is_interrupt else 5))
    finally:
        error.__cause__, error.__context__, error.__suppress_context__ = chain
        del own, trace
    if is_interrupt:
        heads = [number for number, line in enumerate(lines) if "Traceback (most recent call last)" in line]
        lines = lines[heads[0] + 1 :] if heads else lines
    if has_answer or (isinstance(error, HFClientError) and error.partial is not None and error.partial.text):
        lines.append("The answer so far is in client.last.")
    return lines


def _own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback without the frames of hfclient, of the libraries that it has called, and of IPython."""
    kept: list[TracebackType] = []
    is_below = False
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package == "hfclient":
            is_below = True
        elif package not in _IPYTHON and not (is_below and package in _BELOW and package != "__main__"):
            is_below = False  # the caller's code, perhaps a tool that hfclient has called
            kept.append(trace)
        trace = trace.tb_next
    found: TracebackType | None = None
    for part in reversed(kept):
        found = TracebackType(found, part.tb_frame, part.tb_lasti, part.tb_lineno)
    return found
