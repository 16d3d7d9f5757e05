"""Answers as text, for pipes, simple terminals and ``--raw``; and the lines about tools that every answer has."""

from __future__ import annotations

from hfclient import events
from hfclient.cli.output import Output

__all__ = ["TextPrinter", "step_of"]


def step_of(event: events.AnyEvent | None) -> str:
    """Return the line for an event of a tool or of a web search; empty for others."""
    match event:
        case events.ToolCall(name=name):
            return f"[tool: {name}]"
        case events.ToolError(message=message):
            return f"[tool failed: {message}]"
        case events.WebSearch(message=message, args=args) if message:
            return f"[{' '.join((message, *args))}]"
        case _:
            return ""


class TextPrinter:
    """Prints events as text; at the end of its ``with`` block it always ends the last line."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last = "\n"  # the last character written
        self._reasoning = False
        self._closing: list[str] = []

    def show(self, event: events.AnyEvent | None) -> None:
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
            case events.Sources(sources=sources):
                self._closing += [f"[source: {source.title or ''} {source.link}]" for source in sources]
            case events.File(name=name):
                self._closing.append(f"[file: {name}]")
            case events.Title(title=title):
                self._closing.append(f"[title: {title}]")
            case _ if text := step_of(event):
                self.note(text)

    def __enter__(self) -> TextPrinter:
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

    def note(self, text: str) -> None:
        """Write a line about the answer, below the text so far."""
        if self._output.has_notes:
            self._end_line()
            self._output.note(text)
