"""The progress of long work: downloads, uploads, exports, jobs. A bar of tqdm or rich, whichever is installed.

By default a bar appears only where a person looks: on a terminal or in a notebook, and when the work takes longer than half a
second. A script whose output goes to a pipe or a file, a thread, and a worker of a web server or a task queue print nothing.
The bar goes to standard error, and is removed at the end, after an error and after Ctrl-C. In a notebook without widgets its last
state stays: a front end keeps the block of standard error, which would be empty.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from hfclient.errors import InvalidInputError, MissingDependencyError
from hfclient.redaction.control_characters import one_line

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Progress", "ProgressBar"]

Progress: TypeAlias = "bool | Callable[[float, float | None, str], object] | None"
"""None for a bar only on a terminal or in a notebook, True for a bar everywhere (it needs tqdm or rich), False for silence, or
a function that gets (done, total, text): *total* is None if it is unknown, *text* names the present step or is empty.
"""

_DELAY = 0.5  # seconds of work before a bar appears by default
_EVERY = 0.1  # seconds between two updates
_WIDE = 60  # columns of a terminal that has space for numbers (tqdm counts by itself)
_MAX_TEXT = 40  # characters of a name in a bar
_MAX_COUNTS = 60  # characters of the counts of a batch
_SILENT = ("gunicorn.workers", "celery.apps.worker", "uwsgi", "uvicorn.server", "hypercorn", "daphne.server", "rq.worker", "dramatiq.worker", "huey.consumer")
"""Modules of servers and task queues, which handle requests in the main thread of a process that may have a terminal."""


class ProgressBar:
    """The progress of one piece of work; a context manager. Its methods never fail because of the bar.

        with ProgressBar(progress, total=len(names), unit="file") as bar:
            for number, name in enumerate(names):
                bar.update(number, name)

    Args:
        progress: What the caller of the library has asked for.
        total: The whole work in *unit*, or None if it is not known (yet); the attribute can be set later.
        unit: ``"B"`` for bytes, ``"%"`` for a part of 100, or the name of what is counted, such as ``"chat"``. ``"item"`` is for
            batches, whose text has a rate and the time that is left: those of the bar would count stored answers, too.
        label: What is done, such as ``"Export"``.

    Raises:
        InvalidInputError: *progress* is of another type.
        MissingDependencyError: *progress* is True, and neither tqdm nor rich is installed.
    """

    def __init__(self, progress: Progress = None, *, total: float | None = None, unit: str = "B", label: str = "") -> None:
        if not (progress is None or isinstance(progress, bool) or callable(progress)):
            raise InvalidInputError(
                f"progress is True, False, None, or a function that takes (done, total, text), not {progress!r}"
            )
        self.total = total
        self._unit = unit
        self._label = label
        self._report = None if progress is None or isinstance(progress, bool) else progress
        self._make: _Maker | None = None
        self._shown: _Shown | None = None
        self._done: float = 0
        self._line = label
        self._next = self._start = 0.0
        if self._report is None and progress is not False:
            setting = os.environ.get("HFCLIENT_PROGRESS", "")
            if progress is True:
                self._make = _maker(required=True)
            elif setting != "0" and (setting == "1" or _is_watched()):
                self._make = _maker()
        if self._make is not None:
            self._start = time.monotonic()
            self._next = self._start if progress is True else self._start + _DELAY

    @property
    def is_silent(self) -> bool:
        """Whether there is neither a bar nor a function to call, so that updates have no effect."""
        return self._make is None and self._report is None

    def update(self, done: float | None = None, text: str = "") -> None:
        """Set how much is done, and what is going on; None for *done* leaves it."""
        if done is not None:
            self._done = done
        if self._report is not None:
            self._report(self._done, self.total, text)
        elif self._make is not None and (now := time.monotonic()) >= self._next:
            self._next = now + _EVERY
            self._show(text)

    def add(self, amount: float, text: str = "") -> None:
        """Count *amount* as done."""
        self.update(self._done + amount, text)

    def _show(self, text: str) -> None:
        assert self._make is not None
        try:
            if self._shown is None:
                self._shown = self._make(self._label, self.total, self._unit, time.monotonic() - self._start)
            if self._unit == "item":
                self._line = _short(text or self._label, _MAX_COUNTS, columns=2)
            else:
                self._line = _short(f"{self._label} {text}".strip())
            self._shown.show(self._done, self.total, self._line)
        except (OSError, ValueError, ArithmeticError):  # the terminal was closed or lacks a character; a number is infinite
            self._make = None

    def begin(self) -> None:
        """Count the time from now on, instead of since the bar was made."""
        self._next += time.monotonic() - self._start
        self._start = time.monotonic()

    def close(self) -> None:
        """Remove the bar."""
        shown, self._shown, self._make = self._shown, None, None
        if shown is not None:
            with contextlib.suppress(OSError, ValueError, ArithmeticError):
                if shown.stays:  # the last update may have come too early to be shown
                    shown.show(self._done, self.total, self._line)
                try:
                    shown.close()
                except BaseException:
                    shown.close()  # Ctrl-C came while it was removed
                    raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _Shown(Protocol):
    """A bar, which is on the screen after the first `show`; one that *stays* is there after `close`, too."""

    stays: bool

    def show(self, done: float, total: float | None, text: str) -> None: ...

    def close(self) -> None: ...


_Maker: TypeAlias = Callable[[str, "float | None", str, float], _Shown]
"""Takes the label, the total, the unit and the seconds since the start of the work."""


def _short(text: str, most: int = _MAX_TEXT, columns: int = 3) -> str:
    """Return a text, perhaps of a server, as one line that leaves space for the bar: *most* characters, and one of *columns* columns."""
    most = min(most, max(10, shutil.get_terminal_size().columns // columns))
    line = one_line(text[:200])
    return line if len(line) <= most else line[: most - 1] + "…"


# Where a bar makes sense


def _is_watched() -> bool:
    """Whether a person looks at the output of this thread now."""
    if threading.current_thread() is not threading.main_thread():
        return False
    return _is_notebook() or (_is_terminal() and not any(name in sys.modules for name in _SILENT))


def _is_notebook() -> bool:
    """Whether this is a kernel of Jupyter; IPython is not imported for the answer."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def _is_terminal() -> bool:
    stream = sys.stderr
    try:
        if not stream.isatty() or os.environ.get("TERM") == "dumb":
            return False
        # A job in the background must not write over what the user types.
        return not hasattr(os, "tcgetpgrp") or os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except (AttributeError, OSError, ValueError):  # None under pythonw, closed, or not a terminal that controls jobs
        return False


# tqdm and rich


def _maker(*, required: bool = False) -> _Maker | None:
    if importlib.util.find_spec("tqdm") is not None:
        return _Tqdm
    if importlib.util.find_spec("rich") is not None and getattr(sys.stderr, "isatty", lambda: False)():
        return _Rich
    if required:
        raise MissingDependencyError("a progress bar needs tqdm (or rich, on a terminal): pip install tqdm")
    return None


_PERCENT = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
_ITEMS = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}]"


class _Tqdm:
    def __init__(self, label: str, total: float | None, unit: str, elapsed: float) -> None:
        layout = None
        if unit == "%":
            layout = _PERCENT if total else "{desc} [{elapsed}]"
        elif unit == "item":
            layout = _ITEMS if total else "{desc}: {n_fmt} [{elapsed}]"
        self._has_total = total is not None
        self.stays = _is_notebook() and not _has_widgets()
        self._is_on_terminal = not _is_notebook() and sys.stderr is not None and sys.stderr.isatty()
        self._bar = _tqdm_class()(
            desc=label or None,
            total=total,
            unit=unit,
            unit_scale=unit == "B",
            unit_divisor=1000,
            bar_format=layout,
            dynamic_ncols=True,
            leave=self.stays,
            mininterval=0,  # `ProgressBar` counts the time
            miniters=0,
            smoothing=0,  # the average, because the first update counts all that was done before
            delay=1e-9,  # the first display follows `start_t`
            file=sys.stderr,
        )
        self._bar.start_t -= elapsed

    def show(self, done: float, total: float | None, text: str) -> None:
        if total is not None and not self._has_total and self._bar.unit == "%":
            self._has_total = True
            self._bar.bar_format = _PERCENT
        self._bar.total = total
        self._bar.set_description_str(text or None, refresh=False)
        if done > self._bar.n:
            self._bar.update(done - self._bar.n)
        else:
            self._bar.n = done
            self._bar.refresh()

    def close(self) -> None:
        if self._is_on_terminal:
            # tqdm removes what it knows to have written. If Ctrl-C came while it wrote, it does not know.
            width = self._bar.ncols or shutil.get_terminal_size().columns - 1
            self._bar.display(" " * width + "\r")
        self._bar.close()


def _has_widgets() -> bool:
    return importlib.util.find_spec("ipywidgets") is not None


def _tqdm_class() -> Any:
    """Return tqdm's bar for this place: a widget if a notebook has widgets, else text, which needs none."""
    if _is_notebook() and _has_widgets():
        from tqdm.auto import tqdm as base  # type: ignore[import-untyped,unused-ignore]
    else:
        from tqdm.std import tqdm as base  # type: ignore[import-untyped,unused-ignore]  # without its warning about widgets

    class Bar(base):  # type: ignore[misc,unused-ignore]
        monitor_interval = 0  # no thread

    if not hasattr(base, "_lock"):
        Bar.set_lock(threading.RLock())  # tqdm's own is shared by processes, which may start one
    return Bar


class _Rich:
    """A line that rich draws and this class writes.

    Not rich's own live display: it leaves its line, and the cursor hidden, if Ctrl-C comes at the wrong moment.
    """

    stays = False

    def __init__(self, label: str, total: float | None, unit: str, elapsed: float) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._stream = sys.stderr
        self._console = Console(file=self._stream)
        amount: ProgressColumn = DownloadColumn() if unit == "B" else TaskProgressColumn()
        bar = BarColumn() if unit != "item" else BarColumn(bar_width=max(5, min(40, self._console.width // 2 - 30)))
        columns: tuple[ProgressColumn, ...] = (TextColumn("{task.description}", markup=False), bar)
        if unit == "item":
            columns += (MofNCompleteColumn(), TimeElapsedColumn())
        elif self._console.width >= _WIDE:
            columns += (amount, TimeElapsedColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=self._console, auto_refresh=False)
        self._task = self._progress.add_task(label, total=total)  # shows nothing
        task = self._progress.tasks[0]
        task.start_time = (task.start_time or 0.0) - elapsed

    def show(self, done: float, total: float | None, text: str) -> None:
        if self._console.legacy_windows:  # it does not know the sequences below
            return
        self._progress.update(self._task, completed=done, total=total, description=text)
        with self._console.capture() as capture:
            self._console.print(*self._progress.get_renderables(), end="", width=self._console.width - 1)
        self._stream.write("\r" + capture.get().partition("\n")[0] + "\x1b[K")
        self._stream.flush()

    def close(self) -> None:
        if not self._console.legacy_windows:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
