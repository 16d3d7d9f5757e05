"""What an answer looks like on a terminal, in a pipe, and as JSON lines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from hfclient import events
from hfclient.errors import ProtocolError
from hfclient.redaction.control_characters import one_line, stripped
from hfclient.types import Model

__all__ = ["AnswerPrinter", "JSONPrinter", "Screen", "as_json", "model_table"]


def as_json(value: Any) -> str:
    """Return *value* as one line of JSON in printable ASCII: readable in any locale, whatever an answer holds.

    Raises:
        ProtocolError: What the server sent nests too deeply.
    """
    try:
        return json.dumps(value, separators=(",", ":")).replace("\x7f", "\\u007f")
    except RecursionError:
        raise ProtocolError("what the server sent nests too deeply to be written out") from None


class Screen:
    """Standard output and what it can take.

    An answer may hold escape sequences that retitle the window, fill the clipboard or move the cursor, and characters that
    turn the reading direction: a terminal gets none of them. In a pipe the answer's text goes out as it came.

    Attributes:
        is_terminal: Somebody is watching; otherwise the answer's text goes out bare.
        has_notes: Standard error is the same terminal, so that lines on it fall between the right lines of the answer.
        has_colour: Text may be dimmed (``NO_COLOR`` is not set, the terminal is not a dumb one).
    """

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
        self.has_notes = self.is_terminal and _is_same_terminal()
        self.has_colour = self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") != "dumb"

    def write(self, text: str, *, dim: bool = False) -> None:
        """Write *text* to standard output at once."""
        if self.is_terminal:
            text = stripped(text)
            click.echo(click.style(text, dim=True) if dim and self.has_colour else text, nl=False)
        else:  # click.echo would take out what looks like an escape sequence
            sys.stdout.write(text)
            sys.stdout.flush()

    def note(self, text: str) -> None:
        """Write a line about the answer to standard error, if somebody is watching."""
        if self.has_notes:
            text = stripped(" ".join(text.split()))
            click.echo(click.style(text, dim=True) if self.has_colour else text, err=True)


def _is_same_terminal() -> bool:
    if not sys.stderr.isatty():
        return False
    try:
        return os.fstat(sys.stdout.fileno()).st_rdev == os.fstat(sys.stderr.fileno()).st_rdev
    except (OSError, ValueError):
        return False


class AnswerPrinter:
    """Prints events as text while they come; as a context manager it ends the last line, whatever happens."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._last = "\n"  # the last character written
        self._reasoning = False
        self._closing: list[str] = []

    def show(self, event: events.AnyEvent) -> None:
        """Print what a reader wants to see of *event*."""
        match event:
            case events.Token(text=text):
                if self._reasoning:
                    self._reasoning = False
                    self._end_line()
                    self._write("\n")
                self._write(text)
            case events.Reasoning(text=text):
                if self._screen.is_terminal:
                    self._reasoning = True
                    self._write(text, dim=True)
            case events.ToolCall(name=name):
                self._note(f"[tool: {name}]")
            case events.ToolError(message=message):
                self._note(f"[tool failed: {message}]")
            case events.WebSearch(message=message, args=args) if message:
                self._note(f"[{' '.join((message, *args))}]")
            case events.Sources(sources=sources):
                self._closing += [f"[source: {source.title or ''} {source.link}]" for source in sources]
            case events.File(name=name):
                self._closing.append(f"[file: {name}]")
            case events.Title(title=title):
                self._closing.append(f"[title: {title}]")
            case _:
                pass

    def __enter__(self) -> AnswerPrinter:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is BrokenPipeError:
            return
        if kind is KeyboardInterrupt and self._screen.is_terminal:
            self._last = "^C"  # the terminal itself has just shown that
        self._end_line()
        for note in self._closing:
            self._screen.note(note)

    def _write(self, text: str, *, dim: bool = False) -> None:
        if text:
            self._last = text[-1]  # first: Ctrl-C tends to come in the very moment after something was shown
            self._screen.write(text, dim=dim)

    def _end_line(self) -> None:
        if self._last != "\n":
            self._write("\n")

    def _note(self, text: str) -> None:
        if self._screen.has_notes:
            self._end_line()
            self._screen.note(text)


class JSONPrinter:
    """Prints each event as one line of JSON."""

    def show(self, event: events.AnyEvent) -> None:
        """Print *event* as `events.to_dict` has it."""
        click.echo(as_json(events.to_dict(event)))

    def __enter__(self) -> JSONPrinter:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return


def model_table(models: Sequence[Model]) -> str:
    """Return one line a model: its id, what it can do, and its description."""
    rows = [("MODEL", "CAN", "ABOUT")]
    for model in models:
        abilities = {
            "route": model.is_router,
            "images": model.multimodal,
            "tools": model.supports_tools,
            "reasoning": model.supports_reasoning,
        }
        can = ",".join(name for name, able in abilities.items() if able) or "-"
        rows.append((one_line(model.id), can, stripped(" ".join(model.description.split()))[:60]))
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{a:{widths[0]}}  {b:{widths[1]}}  {c}".rstrip() for a, b, c in rows)
