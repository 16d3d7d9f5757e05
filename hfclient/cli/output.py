"""Standard output: a terminal or a pipe, with or without colour, its width, notes, and JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

from hfclient.errors import ProtocolError
from hfclient.redaction.control_characters import collapsed, stripped

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Output", "as_json"]


def as_json(value: Any, *, indent: int | None = None) -> str:
    """Return *value* as JSON in printable ASCII, which every locale and terminal can show: one line, or with *indent* several.

    Raises:
        ProtocolError: The server's data is nested too deeply.
    """
    try:
        separators = (",", ":") if indent is None else None
        return json.dumps(value, indent=indent, separators=separators).replace("\x7f", "\\u007f")
    except RecursionError:
        raise ProtocolError("the server's data is nested too deeply for JSON") from None


class Output:
    """Standard output, and standard error for notes.

    An answer may contain escape sequences that set the window's title, write to the clipboard or move the cursor, and
    characters that change the reading direction. They are removed on a terminal. In a pipe the text is unchanged.

    Attributes:
        is_terminal: Standard output is a terminal.
        has_notes: Standard error is the same terminal, so notes on it appear between the right lines of the answer.
        has_colour: Text may be dimmed (``NO_COLOR`` is not set, ``TERM`` is not ``dumb``).
    """

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
        self.has_notes = self.is_terminal and _is_same_terminal()
        self.has_colour = self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") != "dumb"

    @property
    def width(self) -> int:
        """Columns of the terminal; 80 if it is unknown."""
        return shutil.get_terminal_size().columns

    def console(self) -> Console:
        """Return rich's console for standard output, for what needs more than text; rich is imported here, not before."""
        from rich.console import Console

        return Console(
            file=sys.stdout,
            force_terminal=self.is_terminal,
            no_color=not self.has_colour,
            highlight=False,
            emoji=False,
            markup=False,
        )

    def write(self, text: str, *, dim: bool = False) -> None:
        """Write *text* to standard output at once."""
        if self.is_terminal:
            text = stripped(text)
            click.echo(click.style(text, dim=True) if dim and self.has_colour else text, nl=False)
        else:  # click.echo would remove escape sequences
            sys.stdout.write(text)
            sys.stdout.flush()

    def write_json(self, value: Any) -> None:
        """Write *value* as one line of JSON."""
        self.write(f"{as_json(value)}\n")

    def note(self, text: str) -> None:
        """Write a line about the answer to standard error, if that is the same terminal."""
        if self.has_notes:
            text = collapsed(text)
            click.echo(click.style(text, dim=True) if self.has_colour else text, err=True)


def _is_same_terminal() -> bool:
    if not sys.stderr.isatty():
        return False
    try:
        return os.fstat(sys.stdout.fileno()).st_rdev == os.fstat(sys.stderr.fileno()).st_rdev
    except (OSError, ValueError):
        return False
