"""Answers on a terminal, as Markdown that grows.

Finished blocks are written once and stay in the scrollback. Only the last block is drawn again while it grows, at most ten
times a second, and only as far as it fits on the screen. Without colours (``NO_COLOR``) no escape sequence is written, so each block
appears when it is complete.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from rich.console import detect_legacy_windows

from hfclient import events
from hfclient.cli.output import Output
from hfclient.cli.rendering.block_renderer import BlockRenderer
from hfclient.cli.rendering.live_region import FinalLines, LiveRegion
from hfclient.cli.rendering.markdown_blocks import BlockSplitter
from hfclient.cli.rendering.text import TextPrinter, step_of
from hfclient.redaction.control_characters import one_line, stripped

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["MarkdownPrinter", "answer_printer"]

_INTERVAL = 0.1
"""Seconds between two redraws."""
_COST = 5
"""A redraw is followed by a pause of at least that many times its own duration: a slow machine draws less often."""
_LONG_LINE = 2_000
"""Characters of a line of reasoning; the rest begins a new line."""
_MAX_STATUS = 500
"""Characters of the line that says what the model or a tool does."""
_SHOW_WAIT_AFTER = 2.0
"""Seconds without any event after which the terminal shows that the answer has not begun."""


def answer_printer(output: Output, *, raw: bool = False, has_summary: bool = True) -> TextPrinter | MarkdownPrinter:
    """Return the printer for *output*: Markdown on a terminal that can move its cursor, text elsewhere and with *raw*."""
    can_redraw = output.is_terminal and os.environ.get("TERM") != "dumb" and not detect_legacy_windows()
    return MarkdownPrinter(output, has_summary=has_summary) if can_redraw and not raw else TextPrinter(output)


class MarkdownPrinter:
    """Prints the events of an answer to a terminal, inside a ``with`` block.

    with MarkdownPrinter(Output()) as printer:
        for event in stream.ticks(0.1):
            printer.show(event)

    Args:
        output: The terminal.
        has_summary: At the end, write a line with the model, the tokens and the time.
    """

    def __init__(self, output: Output, *, has_summary: bool = True) -> None:
        self._output = output
        self._has_summary = has_summary
        self._region: LiveRegion | FinalLines = LiveRegion() if output.has_colour else FinalLines()
        self._splitter: BlockSplitter | None = None  # of the text since the last note
        self._renderer = BlockRenderer(has_colour=output.has_colour)
        self._reasoning: str | None = None  # the last line, which still grows; None before and after the reasoning
        self._has_gap = False  # an empty line comes before the next text
        self._final: list[str] = []  # lines to be written with the next redraw
        self._status = ""
        self._return = ""  # a carriage return at the end of a piece: a line feed may follow
        self._closing: list[str] = []
        self._sources: list[events.Source] = []
        self._facts: dict[str, str] = {}
        self._has_text = False  # anything was shown
        self._begin = time.monotonic()
        self._next_draw = 0.0
        self._is_changed = False

    def show(self, event: events.AnyEvent | None) -> None:
        """Show *event*; None, which `Stream.ticks` yields, shows what came since the last redraw."""
        match event:
            case None:
                if not self._has_text and (seconds := time.monotonic() - self._begin) >= _SHOW_WAIT_AFTER:
                    self._set_status(f"waiting for the answer, {seconds:.0f} s")
            case events.Token(text=text):
                self._add_text(text)
            case events.Reasoning(text=text):
                self._add_reasoning(text)
            case events.ReasoningStatus(status=status):
                self._set_status(status)
            case events.ToolProgress(progress=progress, total=total, message=message):
                amount = f"{progress / total:.0%}" if total else f"{progress:g}"
                self._set_status(f"tool: {amount} {message or ''}")
            case events.Sources(sources=sources):
                self._sources += sources
            case events.File(name=name):
                self._closing.append(f"[file: {name}]")
            case events.Title(title=title):
                self._facts["title"] = title
            case events.Route(model=model, provider=provider):
                self._facts.update({key: value for key, value in (("model", model), ("provider", provider)) if value})
            case events.Usage(total_tokens=total) if total:
                self._facts["tokens"] = f"{total:,} tokens"
            case _ if text := step_of(event):
                self.note(text)
        self._draw()

    def note(self, text: str) -> None:
        """Write a line about the answer, below the text so far."""
        if self._output.has_notes:
            self.pause()
            self._output.note(text)

    def pause(self) -> None:
        """End the text so far, so that others can write to the terminal."""
        self._set_status("")
        self._finish_text()
        self._draw(at_once=True)
        self._region.clear()
        self._has_text, self._has_gap = True, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None and issubclass(kind, (BrokenPipeError, OSError)):
            return
        if kind is KeyboardInterrupt:
            self._region.erase_echo()
        self.pause()
        if kind is None or kind is KeyboardInterrupt:
            self._closing_notes(is_complete=kind is None)

    def _closing_notes(self, *, is_complete: bool) -> None:
        for number, source in enumerate(self._sources, 1):
            title = f"{source.title} " if source.title else ""
            self._output.note(f"[{number}] {title}{source.link}")
        for line in self._closing:
            self._output.note(line)
        if not is_complete:
            self._output.note("[stopped]")
        if not (is_complete and self._has_summary):
            return
        facts = [self._facts[name] for name in ("title", "model", "provider", "tokens") if name in self._facts]
        self._output.note(f"[{' · '.join([*facts, f'{time.monotonic() - self._begin:.1f} s'])}]")

    # Content

    def _add_text(self, text: str) -> None:
        if self._reasoning is not None:
            self._finish_text()
        if self._splitter is None:
            self._splitter = BlockSplitter()
            self._final += [""] if self._has_gap else []
            self._has_gap = False
        self._splitter.feed(self._clean(text))
        self._is_changed = self._has_text = True
        self._status = ""

    def _add_reasoning(self, text: str) -> None:
        if self._reasoning is None:
            self._finish_text()
            self._reasoning = ""
            if not self._output.has_colour:
                self._final.append("[reasoning]")
        *lines, last = (self._reasoning + self._clean(text)).split("\n")
        while len(last) > _LONG_LINE:
            at = last.rfind(" ", _LONG_LINE // 2, _LONG_LINE) + 1 or _LONG_LINE
            lines.append(last[:at])
            last = last[at:]
        columns = self._region.size()[0]
        for line in lines:
            self._final += self._renderer.plain(line, columns, "dim") or [""]
        self._reasoning = last
        self._is_changed = self._has_text = True
        self._status = ""

    def _clean(self, text: str) -> str:
        """Return *text* without control characters, with line feeds for all line ends."""
        text = self._return + text
        self._return = "\r" if text.endswith("\r") else ""
        return stripped(text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n"))

    def _set_status(self, text: str) -> None:
        text = stripped(one_line(text[:_MAX_STATUS])).strip()
        self._is_changed = self._is_changed or text != self._status
        self._status = text

    def _finish_text(self) -> None:
        """Make all that was received final."""
        columns = self._region.size()[0]
        self._return = ""
        if self._reasoning is not None:
            self._final += self._renderer.plain(self._reasoning, columns, "dim")
            self._reasoning, self._has_gap = None, True
        if self._splitter is not None:
            for block in self._splitter.final_blocks(is_end=True):
                self._final += self._renderer.final(block, columns)
            self._splitter = None
            self._renderer.restart()
        self._is_changed = True

    def _draw(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if not at_once and now < self._next_draw:
            return
        columns = self._region.size()[0]
        if not at_once and not self._is_changed and columns == (self._region.columns or columns):
            return
        lines: list[str] = []
        if self._splitter is not None:
            for block in self._splitter.final_blocks():
                self._final += self._renderer.final(block, columns)
            lines = self._renderer.growing(self._splitter.growing_blocks, columns)
        elif self._reasoning is not None:
            lines = self._renderer.plain(self._reasoning, columns, "dim")
        if self._status:
            lines += self._renderer.plain(self._status, 10_000, "dim")
        final, self._final = self._final, []
        self._region.update(final, lines)
        self._is_changed = False
        end = time.monotonic()
        self._next_draw = end + max(_INTERVAL, _COST * (end - now))
