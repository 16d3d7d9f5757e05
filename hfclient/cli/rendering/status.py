"""One line on a terminal that says what a command waits for, and notes on standard error."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time

from hfclient.redaction.control_characters import collapsed, one_line

__all__ = ["Status", "warn"]

_EVERY = 0.1
"""Seconds between two updates."""


class Status:
    """A line on standard error that is replaced by the next one, and removed at the end of the ``with`` block.

    Nothing is written if standard error is not a terminal.
    """

    def __init__(self) -> None:
        self._is_shown = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM", "") != "dumb"
        self._has_text = False
        self._last = 0.0

    def show(self, text: str) -> None:
        """Show *text*, cut to the width of the terminal; at most ten updates a second."""
        now = time.monotonic()
        if not self._is_shown or (self._has_text and now - self._last < _EVERY):
            return
        self._last = now
        width = shutil.get_terminal_size().columns - 1
        # Half of it for wide characters, which take two columns each.
        line = collapsed(text)
        line = line[:width] if line.isascii() else line[: width // 2]
        self._write(f"\r\x1b[K{line}")
        self._has_text = bool(line)

    def clear(self) -> None:
        """Remove the line, so that something else can be written."""
        if self._has_text:
            self._write("\r\x1b[K")
            self._has_text = False

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()

    def __enter__(self) -> Status:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.clear()


def warn(message: str) -> None:
    """Write a line to standard error that is not about a failure of the command."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"hfclient: {one_line(message)}\n")
        sys.stderr.flush()
