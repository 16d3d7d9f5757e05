"""What a notebook asks an object for when the object is the value of a cell, and IPython an exception for its traceback.

The only place where the core calls `hfclient.notebook`, which is imported when something is displayed, not before.

Reference: https://ipython.readthedocs.io/en/stable/config/integrating.html
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["Displayed", "DisplayedList", "LiveDisplayed", "shorten", "traceback_lines"]


class Displayed:
    """An object that a notebook shows as more than its repr. A display sends nothing to a server, and never raises."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        from hfclient.notebook.bundles import mime_bundle

        return mime_bundle(self)

    # For front ends that do not read bundles, such as documentation tools.
    def _repr_markdown_(self) -> str | None:
        from hfclient.notebook.bundles import form

        return form(self, "text/markdown")

    def _repr_html_(self) -> str | None:
        from hfclient.notebook.bundles import form

        return form(self, "text/html")


class DisplayedList(Displayed):
    """A list that a notebook shows as more than its repr."""

    __slots__ = ()

    # IPython has a printer for lists, which it prefers to the bundle.
    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        from hfclient.notebook.bundles import form

        is_the_value = len(printer.stack) == 1 and not cycle
        printer.text((is_the_value and form(self, "text/plain")) or repr(self))


class LiveDisplayed:
    """An answer that is shown as it comes."""

    __slots__ = ()

    def show(self: Any) -> None:
        """Read the rest of the answer and show it as it comes: formatted in a notebook, as text in a terminal or a script.

        The answer is then in ``result()`` and in ``client.last``. The value of a notebook's cell is shown in the same way without
        this call. In a notebook the waits have ticks, so functions of tools run in a helper thread (see `Stream.ticks`).

        Raises:
            StreamConsumed: It was read to its end, or closed.
            HFClientError: The error that ended the answer early; what had come is shown, and on ``partial``.
        """
        from hfclient.notebook.live import show

        show(self)

    def _ipython_display_(self: Any) -> None:
        from hfclient.notebook.live import show_value

        show_value(self)


def shorten(interrupt: KeyboardInterrupt, *, has_answer: bool = False) -> None:
    """Let IPython show the traceback of Ctrl-C without the frames of hfclient and of the libraries below it.

    Args:
        interrupt: The exception, on its way.
        has_answer: An answer was being read: the traceback says where it is.
    """
    # Not a method of an object: one that is bound to the exception would keep it, and the frames of its traceback, alive.
    interrupt._render_traceback_ = _of_an_answer if has_answer else _of_a_call  # type: ignore[attr-defined]


def _of_an_answer() -> list[str]:
    return traceback_lines(sys.last_value, has_answer=True)  # IPython sets it before it calls this


def _of_a_call() -> list[str]:
    return traceback_lines(sys.last_value)


def traceback_lines(error: BaseException | None, *, has_answer: bool = False) -> list[str]:
    """Return the lines of a traceback that IPython shows; arguments are those of `short_traceback`."""
    from hfclient.notebook.tracebacks import short_traceback

    return short_traceback(error, has_answer=has_answer)
