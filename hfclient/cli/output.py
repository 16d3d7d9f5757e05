"""Output of answers: on a terminal, in a pipe, and as JSON lines."""

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

__all__ = ["AnswerPrinter", "JSONPrinter", "Output", "as_json", "model_table"]


def as_json(value: Any) -> str:
    """Return *value* as one line of JSON in printable ASCII, which every locale and terminal can show.

    Raises:
        ProtocolError: The server's data is nested too deeply.
    """
    try:
        return json.dumps(value, separators=(",", ":")).replace("\x7f", "\\u007f")
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

    def write(self, text: str, *, dim: bool = False) -> None:
        """Write *text* to standard output at once."""
        if self.is_terminal:
            text = stripped(text)
            click.echo(click.style(text, dim=True) if dim and self.has_colour else text, nl=False)
        else:  # click.echo would remove escape sequences
            sys.stdout.write(text)
            sys.stdout.flush()

    def note(self, text: str) -> None:
        """Write a line about the answer to standard error, if that is the same terminal."""
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
    """Prints events as text; at the end of its ``with`` block it always ends the last line."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last = "\n"  # the last character written
        self._reasoning = False
        self._closing: list[str] = []

    def show(self, event: events.AnyEvent) -> None:
        """Print *event*: text, reasoning on a terminal, and notes for other events."""
        match event:
            case events.Token(text=text):
                if self._reasoning:
                    self._reasoning = False
                    self._end_line()
                    self._write("\n")
                self._write(text)
            case events.Reasoning(text=text):
                if self._output.is_terminal:
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
        if kind is KeyboardInterrupt and self._output.is_terminal:
            self._last = "^C"  # the terminal has just echoed it
        self._end_line()
        for note in self._closing:
            self._output.note(note)

    def _write(self, text: str, *, dim: bool = False) -> None:
        if text:
            self._last = text[-1]  # before the write: Ctrl-C may interrupt it
            self._output.write(text, dim=dim)

    def _end_line(self) -> None:
        if self._last != "\n":
            self._write("\n")

    def _note(self, text: str) -> None:
        if self._output.has_notes:
            self._end_line()
            self._output.note(text)


class JSONPrinter:
    """Prints each event as one line of JSON."""

    def show(self, event: events.AnyEvent) -> None:
        """Print *event* in the form of `events.to_dict`."""
        click.echo(as_json(events.to_dict(event)))

    def __enter__(self) -> JSONPrinter:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return


def model_table(models: Sequence[Model]) -> str:
    """Return one line per model: its id, abilities and description."""
    rows = [("MODEL", "ABILITIES", "DESCRIPTION")]
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
