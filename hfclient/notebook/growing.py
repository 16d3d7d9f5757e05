"""An answer that grows, as Markdown of which finished blocks are rendered once."""

from __future__ import annotations

import json
import re
from typing import Any

from hfclient.events import AnyEvent, Reasoning, Token, ToolCall, ToolError, ToolProgress, ToolResult, WebSearch
from hfclient.notebook.replies import Live
from hfclient.redaction.control_characters import stripped
from hfclient.redaction.markdown import fenced, safe_markdown
from hfclient.types import Reply

__all__ = ["GrowingAnswer", "GrowingMarkdown", "object_as_markdown"]

_MAX_OBJECT = 100_000  # characters of an object
_MAX_STEPS = 5  # of a web search that are shown
_FROZEN = 2000  # characters of finished blocks that are rendered together
_FENCE = re.compile(r"[ >]*(?:[-*+][ ]+|\d{1,9}[.)][ ]+)?(`{3,}|~{3,})(.*)")


class GrowingMarkdown:
    """A text that grows, and its safe Markdown; finished blocks are rendered once."""

    def __init__(self, text: str = "") -> None:
        self._done: list[str] = []  # the Markdown of finished blocks
        self._pieces = [text] if text else []  # of the rest
        self.length = len(text)

    def add(self, text: str) -> None:
        """Append *text*."""
        self._pieces.append(text)
        self.length += len(text)

    def markdown(self) -> str:
        """Return the Markdown of the whole text."""
        rest = "".join(self._pieces)
        if len(rest) > _FROZEN and (end := _end_of_blocks(rest)) >= _FROZEN:
            self._done.append(f"{safe_markdown(rest[:end]).strip(chr(10))}\n\n")
            rest = rest[end:]
        self._pieces = [rest]
        return ("".join(self._done) + safe_markdown(rest)).strip("\n")


def _end_of_blocks(text: str) -> int:
    """Return where the last block begins: behind a blank line, outside of a fence, at a line that is not indented."""
    fence, end, position, was_blank = "", 0, 0, False
    for line in text.split("\n"):
        found = _FENCE.match(line)
        if fence:
            if found and found[1].startswith(fence) and not found[2].strip():
                fence = ""
        else:
            if was_blank and line[:1].strip():
                end = position
            if found and not (found[1][0] == "`" and "`" in found[2]):
                fence = found[1]
        position += len(line) + 1
        was_blank = not line.strip()
    return end


class GrowingAnswer:
    """An answer that is still coming, beside its reply so far.

    Args:
        before: What had come.

    Attributes:
        text, reasoning: Those of the answer.
        running: The name of the tool that was called last, until something else comes; or None.
        draft: The object so far as Markdown, in place of a text.
    """

    def __init__(self, before: Reply) -> None:
        self.text = GrowingMarkdown(before.text)
        self.reasoning = GrowingMarkdown(before.reasoning)
        self.running: str | None = None
        self.draft = ""
        self._tools: dict[str, str] = {}
        self._steps: list[str] = []
        self._is_over = False  # the round of a run with tools

    def add(self, event: AnyEvent) -> None:
        """Take what *event* adds."""
        match event:
            case Token(text) | Reasoning(text):
                if self._is_over:
                    self.text, self.reasoning, self._is_over = GrowingMarkdown(), GrowingMarkdown(), False
                (self.text if isinstance(event, Token) else self.reasoning).add(text)
                self.running = None
            case ToolCall(uuid, name):
                self._tools[uuid], self.running = "… running", name or "a tool"
            case ToolProgress(uuid, progress, total, message):
                share = f"{progress / total:.0%}" if total else f"{progress:g}"
                self._tools[uuid] = " ".join(filter(None, ("…", share, message)))
            case ToolResult() | ToolError():
                self.running = None
            case WebSearch(message, args):
                self._steps = [*self._steps, " ".join((message, *args))][-_MAX_STEPS:] if message else self._steps
            case _:
                pass

    def end_round(self) -> None:
        """Let the next text replace the text so far: another answer follows the results of tools."""
        self._is_over = True

    def live(self, state: str) -> Live:
        """Return what `reply_markdown` shows beside the reply."""
        text = self.draft or self.text.markdown()
        return Live(text, self.reasoning.markdown(), self._tools, self._steps, state)


def object_as_markdown(value: Any) -> str:
    """Return an object of plain JSON types as Markdown."""
    try:
        text = stripped(json.dumps(value, ensure_ascii=False, indent=2))
    except (TypeError, ValueError, RecursionError):
        text = "(it cannot be written as JSON)"
    if len(text) > _MAX_OBJECT:
        text = f"{text[:_MAX_OBJECT]}\n… and {len(text) - _MAX_OBJECT:,} more characters"
    return fenced(text, "json")
