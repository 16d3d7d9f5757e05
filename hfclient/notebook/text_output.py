"""A live answer as text: for terminals, scripts and pipes.

A pipe gets the text of the answer and nothing else. A terminal also gets the reasoning and the tools' states, dimmed, and the
seconds of a wait. Control characters of the model are removed.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO

from hfclient.events import (
    AnyEvent,
    Failover,
    File,
    Reasoning,
    Sources,
    Token,
    ToolCall,
    ToolError,
    ToolResult,
    WebSearch,
)
from hfclient.notebook.replies import fact_words
from hfclient.notebook.times import Times
from hfclient.redaction.control_characters import one_line, stripped
from hfclient.types import Reply

__all__ = ["TextOutput"]

_DIM, _PLAIN, _CLEAR = "\x1b[2m", "\x1b[0m", "\r\x1b[K"
_WAIT = 1.0  # seconds until a wait is shown


class TextOutput:
    """Writes the answer as it comes.

    Args:
        before: What had been read of it.
        out: A file; the standard output by default.
    """

    def __init__(self, before: Reply, out: TextIO | None = None) -> None:
        self._before = before.text
        self._out = out or sys.stdout
        self._is_terminal = self._out.isatty()
        self._has_styles = self._is_terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self._is_dim = False
        self._last = "\n"  # character
        self._shown_wait = ""
        self._object = ""  # as JSON

    def begin(self, times: Times) -> None:
        """Write what had been read."""
        self._write(self._before)

    def add(self, event: AnyEvent, times: Times) -> None:
        """Write what *event* adds."""
        match event:
            case Token(text):
                self._write(text)
            case Reasoning(text) if self._is_terminal:
                self._write(text, dim=True)
            case ToolCall(name=name):
                self._note(f"{name} ...")
            case ToolResult(name=name, status=status):
                self._note(f"{name or 'tool'}: {status}")
            case ToolError(message=message):
                self._note(f"tool: {message}")
            case WebSearch(message, args) if message:
                self._note(" ".join((message, *args)))
            case Failover(provider=provider, reason=reason):
                self._note(f"{provider} failed ({reason}); the next provider answers")
            case File(name=name):
                self._note(f"file: {name}")
            case Sources(sources):
                for source in sources:
                    self._note(f"source: {source.link}")
            case _:
                return
        self._out.flush()

    def add_object(self, value: Any, times: Times) -> None:
        """Keep the object so far: it is written at the end."""
        self._object = json.dumps(value, ensure_ascii=False, indent=2)

    def tick(self, times: Times) -> None:
        """Show how long nothing has come; called several times a second."""
        silence = times.silence()
        if not self._has_styles or silence < _WAIT or (self._last != "\n" and not self._shown_wait):
            return
        wait = f"waiting {silence:.0f} s"
        if wait != self._shown_wait:
            self._shown_wait = wait
            self._out.write(f"{_CLEAR}{_DIM}{wait}{_PLAIN}")
            self._out.flush()

    def end(self, reply: Reply, times: Times | None, error: BaseException | None = None) -> None:
        """Finish the last line."""
        if times is None:  # it had ended before
            self._write(reply.text)
        self._write(self._object)
        self._clear_wait()
        if error is None and times is not None and self._is_terminal:
            self._note(" · ".join((*fact_words(reply), times.in_words())))
        self._end_line()
        if self._is_dim and self._has_styles:
            self._out.write(_PLAIN)
        self._is_dim = False
        self._out.flush()

    def _note(self, text: str) -> None:
        if self._is_terminal:
            self._end_line()
            self._write(f"[{one_line(text)[:200]}]\n", dim=True)

    def _end_line(self) -> None:
        if self._last != "\n":
            self._write("\n", dim=self._is_dim)

    def _write(self, text: str, *, dim: bool = False) -> None:
        text = stripped(text)
        if not text:
            return
        self._clear_wait()
        if dim != self._is_dim:
            if self._last != "\n":
                self._out.write("\n")
            if self._has_styles:
                self._out.write(_DIM if dim else _PLAIN)
            self._is_dim = dim
        self._out.write(text)
        self._last = text[-1]

    def _clear_wait(self) -> None:
        if self._shown_wait:
            self._out.write(_CLEAR)
            self._shown_wait = ""
