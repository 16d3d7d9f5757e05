"""Pseudo-terminals: a program behind one, and the screen as pyte draws it, with what has scrolled off."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pyte

from tests.server import PATIENCE

# What the shell of a terminal does: the terminal belongs to the new session, so that Ctrl-C arrives.
_ON_ITS_TERMINAL = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
_OF_A_TERMINAL = ("COLUMNS", "LINES", "NO_COLOR", "COLORTERM", "TMUX", "STY", "KITTY_WINDOW_ID", "LC_TERMINAL", "KONSOLE_VERSION", "WEZTERM_PANE")


class Screen:
    """A terminal of *columns* and *rows*; write to it as to standard output."""

    def __init__(self, columns: int = 60, rows: int = 20) -> None:
        self._screen = pyte.HistoryScreen(columns, rows, history=100_000, ratio=0.0001)
        self._stream = pyte.ByteStream(self._screen)
        self.received = b""

    def write(self, text: str) -> int:
        self.feed(text.replace("\n", "\r\n").encode("utf-8", "replace"))
        return len(text)

    def feed(self, data: bytes) -> None:
        self.received += data
        self._stream.feed(data)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True

    @property
    def size(self) -> tuple[int, int]:
        return self._screen.columns, self._screen.lines

    @property
    def title(self) -> str:
        return self._screen.title

    @property
    def cursor(self) -> tuple[int, int] | None:
        """Column and row of the cursor; None if it is hidden."""
        cursor = self._screen.cursor
        return None if cursor.hidden else (cursor.x, cursor.y)

    @property
    def lines(self) -> list[str]:
        """All lines, also those that have scrolled off, without empty ones at the end."""
        rows = [*self._screen.history.top, *(self._screen.buffer[row] for row in range(self._screen.lines))]
        texts = ["".join(row[column].data for column in range(self._screen.columns)).rstrip() for row in rows]
        while texts and not texts[-1]:
            texts.pop()
        return texts

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def resize(self, columns: int, rows: int) -> None:
        self._screen.resize(rows, columns)


class Terminal(Screen):
    """A program behind a terminal of its own.

    Args:
        command: The program and its arguments.
        env: Its environment; what the terminal of the person that runs the tests has set is left out.
        columns, rows: The size of the terminal.
        pixels: Its width and height in pixels; zeros as on most terminals.
        variables: Further variables.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        columns: int = 80,
        rows: int = 24,
        pixels: tuple[int, int] = (0, 0),
        **variables: str,
    ) -> None:
        super().__init__(columns, rows)
        self._pixels = pixels
        self._master, slave = pty.openpty()
        self._tell_size(columns, rows)
        kept = {name: value for name, value in env.items() if name not in _OF_A_TERMINAL}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ON_ITS_TERMINAL, *command],
            env={**kept, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", "PYTHONFAULTHANDLER": "1", **variables},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def type(self, text: str) -> None:
        """Write to the terminal as a keyboard does."""
        os.write(self._master, text.encode())

    def paste(self, text: str) -> None:
        """Paste as terminals do: in brackets, with carriage returns as line ends."""
        self.type(f"\x1b[200~{text}\x1b[201~")

    def wait_for(self, *texts: str, gone: str = "\0") -> str:
        """Read until the screen has all *texts*, and does not have *gone*."""
        end = time.monotonic() + PATIENCE
        while not (all(text in self.text for text in texts) and gone not in self.text):
            assert time.monotonic() < end, f"{texts} is not on the screen:\n{self.text}"
            if not self.read(0.2) and self.process.poll() is not None:
                assert all(text in self.text for text in texts), f"the command ended without {texts}:\n{self.text}"
                break
        return self.text

    def wait_until(self, condition: Any) -> None:
        """Read until *condition* is true."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, self.text
            if not self.read(0.05) and self.process.poll() is not None and not self.read(0):
                assert condition(), f"the command ended with {self.process.returncode}:\n{self.text}"

    def finish(self) -> int:
        """Read to the end and return the exit code. If the command does not end, the error has the stacks of its threads."""
        end = time.monotonic() + PATIENCE
        while self.read(0.2) or self.process.poll() is None:
            if time.monotonic() > end:
                self.process.send_signal(signal.SIGABRT)  # handled by faulthandler
                while self.read(2):
                    pass
                raise AssertionError(f"the command has not ended:\n{self.received.decode(errors='replace')}")
        return self.process.wait(PATIENCE)

    def read(self, seconds: float) -> bool:
        """Read what there is; return whether there was anything."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux's error after the other side has closed
            return False
        self._answer(data)
        self.feed(data)
        return bool(data)

    def _answer(self, data: bytes) -> None:
        if b"\x1b[6n" in data:  # prompt_toolkit asks for the position of the cursor
            row, column = self._screen.cursor.y + 1, self._screen.cursor.x + 1
            with contextlib.suppress(OSError):
                os.write(self._master, f"\x1b[{row};{column}R".encode())

    def resize(self, columns: int, rows: int) -> None:
        super().resize(columns, rows)
        self._tell_size(columns, rows)

    def _tell_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, *self._pixels))

    def hang_up(self) -> None:
        """Close the terminal, as a window that is closed: the command gets SIGHUP."""
        os.close(self._master)
        self._master = -1
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGHUP)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._master >= 0:
            os.close(self._master)
