"""``hfclient`` behind a pseudo-terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from tests.cli.conftest import environment
from tests.server import PATIENCE
from tests.terminals import Terminal


class TerminalScreen(Terminal):
    """``hfclient`` with *arguments*, on a terminal that does not wrap its lines again when it becomes narrower, as xterm."""

    def __init__(self, *arguments: str, columns: int = 60, rows: int = 20, **env: str) -> None:
        command = [sys.executable, "-m", "hfclient", *arguments]
        super().__init__(command, environment(), columns=columns, rows=rows, **{"XTERM_VERSION": "XTerm(390)", **env})


@frozen
class Shown:
    """The end of a run.

    Attributes:
        code: The exit code.
        raw: All bytes that came.
        lines: The lines of the screen that are not empty, scrolled ones included, without spaces at their ends.
    """

    code: int
    raw: bytes = field(repr=False)
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def on_screen(*arguments: str, **options: Any) -> Shown:
    """Run ``hfclient`` with *arguments* on a terminal; see `run_on_screen` for the options."""
    return run_on_screen([sys.executable, "-m", "hfclient", *arguments], **options)


def run_on_screen(
    command: list[str], *, keys: bytes = b"", answer: Callable[[bytes], bytes] | None = None, **options: Any
) -> Shown:
    """Run a program on a terminal of its own to its end and return what it shows.

    Args:
        command: The program and its arguments.
        keys: Typed as soon as something is shown.
        answer: Called with each piece of output; bytes that it returns are typed, as a terminal answers a query.
        options: Those of `Terminal`.
    """
    terminal = Terminal(command, environment(), **options)
    try:
        while True:
            before = len(terminal.received)
            if not terminal.read(2 * PATIENCE):
                break
            if keys:
                terminal.type(keys.decode())
                keys = b""
            if answer is not None and (reply := answer(terminal.received[before:])):
                terminal.type(reply.decode())
        code = terminal.finish()
    finally:
        terminal.close()
    return Shown(code, terminal.received, [line for line in terminal.lines if line])
