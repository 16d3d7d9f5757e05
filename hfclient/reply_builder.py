"""The `Reply` of an answer, built from its events: `ReplyBuilder` for a stream, `reply_from_events` for events that were kept."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from attrs import evolve

from hfclient.decoding.think_tags import split_thinking
from hfclient.events import (
    AnyEvent,
    Elicitation,
    ElicitationResolved,
    Failover,
    File,
    FinalAnswer,
    Finish,
    Reasoning,
    Route,
    Sources,
    Title,
    Token,
    ToolCall,
    ToolError,
    ToolResult,
    Usage,
)
from hfclient.types import Reply

__all__ = ["ReplyBuilder", "reply_from_events"]

_PAGE = 4096  # pieces that are not joined yet


class _TextBuffer:
    """Text in pieces, which are joined into pages from time to time: a token of four characters takes 60 bytes.

    Other threads and signal handlers may read it at any moment: each change of *pieces* is atomic and keeps the text,
        and only one thread joins at a time.
    """

    __slots__ = ("_joining", "_paged", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._paged = 0  # number of pages among them
        self._joining = threading.Lock()

    def compact(self) -> None:
        """Join the pieces since the last page into another page, if there are enough."""
        if len(self.pieces) - self._paged > _PAGE:
            self._join(self._paged)

    def whole(self) -> str:
        """Return the whole text and keep it joined."""
        if len(self.pieces) > 1:
            self._join(0)
        return "".join(self.pieces)

    def _join(self, start: int) -> None:
        if self._joining.acquire(blocking=False):
            try:
                count = len(self.pieces)  # the reader may append meanwhile
                if count > start:
                    self.pieces[start:count] = ["".join(self.pieces[start:count])]
                    self._paged = start + 1
            finally:
                self._joining.release()


class ReplyBuilder:
    """Builds the `Reply` of one answer from its events, a block at a time."""

    def __init__(self) -> None:
        self._text = _TextBuffer()
        self._reasoning = _TextBuffer()
        self._fields: dict[str, Any] = {}
        self._lists: dict[str, list[Any]] = {}
        self.final: FinalAnswer | None = None
        self.questions: set[str] = set()  # ids of questions of tools that are not answered yet
        self._taken: tuple[int, int] | None = None  # lengths of text and reasoning that the reader had received

    @property
    def title(self) -> str | None:
        """The conversation's title, or None."""
        return self._fields.get("title")

    @property
    def is_finished(self) -> bool:
        """Whether the model has said why it stopped."""
        return "finish_reason" in self._fields

    def add(self, events: list[AnyEvent]) -> bool:
        """Add *events*; True if they have content (text, reasoning, tools, files)."""
        if len(events) == 1 and type(event := events[0]) is Token:  # one token
            texts = self._text.pieces
            texts.append(event.text)
            if len(texts) > _PAGE:
                self._text.compact()
            return True
        texts, thoughts = self._text.pieces, self._reasoning.pieces
        before = len(texts) + len(thoughts) + len(self._lists)
        for event in events:
            if type(event) is Token:
                texts.append(event.text)
            elif type(event) is Reasoning:
                thoughts.append(event.text)
            else:
                self._add_rare(event)
        has_content = self.final is not None or before != len(texts) + len(thoughts) + len(self._lists)
        self._text.compact()
        self._reasoning.compact()
        return has_content

    def _add_rare(self, event: AnyEvent) -> None:
        match event:
            case Title(title):
                self._fields["title"] = title
            case FinalAnswer():
                self.final = event
            case Finish(reason):
                self._fields["finish_reason"] = reason
            case Usage():
                self._fields["usage"] = event
            case Route():
                self._fields["route"] = _merged(self._fields.get("route"), event)
            case Failover():
                # Not content. The route and the usage so far are those of the provider that failed.
                self._fields["failovers"] = (*self._fields.get("failovers", ()), event)
                self._fields.pop("route", None)
                self._fields.pop("usage", None)
            case Sources(sources):
                self._lists.setdefault("sources", []).extend(sources)
            case ToolCall():
                self._lists.setdefault("tool_calls", []).append(event)
            case ToolResult():
                self.questions.clear()
                self._lists.setdefault("tool_results", []).append(event)
            case ToolError():
                self.questions.clear()
                self._lists.setdefault("tool_errors", []).append(event)
            case File():
                self._lists.setdefault("files", []).append(event)
            case Elicitation():
                self._lists.setdefault("elicitations", []).append(event)
                self.questions.add(event.elicitation_id)
            case ElicitationResolved():
                self.questions.discard(event.elicitation_id)
            case _:
                pass

    def text(self) -> str:
        """Return the text of all tokens so far."""
        return self._text.whole()

    def thoughts(self) -> str:
        """Return the reasoning so far."""
        return self._reasoning.whole()

    def reader_left(self, undelivered: list[AnyEvent]) -> None:
        """Record that the reader stopped without *undelivered* and all later events."""
        texts = sum(len(event.text) for event in undelivered if isinstance(event, Token))
        thoughts = sum(len(event.text) for event in undelivered if isinstance(event, Reasoning))
        self._taken = len(self.text()) - texts, len(self.thoughts()) - thoughts

    def reply(self, **fields: Any) -> Reply:
        """Return the answer so far, with *fields* added.

        The server's final answer is authoritative. Without tools it replaces the tokens, which may include a failed
        first attempt; with tools it covers the last round only and is merged as the server merges it. An interrupted
        one may be shorter than the text that the reader has received; then it is not used.
        """
        text, reasoning = self.text(), self.thoughts()
        if self.final is not None:
            if self.final.extra:
                fields["extra"] = {**(fields.get("extra") or {}), **self.final.extra}
            fields["interrupted"] = self.final.interrupted
            answer, thoughts = split_thinking(self.final.text)
            if self.final.interrupted:
                had_text, had_thoughts = self._taken or (len(text), len(reasoning))
                text = answer if len(answer) >= had_text else text
                reasoning = thoughts if len(thoughts) >= max(1, had_thoughts) else reasoning
            elif "tool_calls" not in self._lists:
                text = answer
                reasoning = thoughts or reasoning
            elif answer.startswith(text):
                text = answer
            elif not text.endswith(answer):
                text = f"{text}{'' if text.endswith(chr(10) * 2) else chr(10) * 2}{answer}"
        fields.update(self._fields)
        fields.update((name, tuple(items)) for name, items in list(self._lists.items()))
        return Reply(text=text, reasoning=reasoning, **fields)


def reply_from_events(events: Iterable[AnyEvent], *, interrupted: bool = False) -> Reply:
    """Return the `Reply` of an answer whose events were kept, as ``Stream.result()`` would: `events.from_dict` reads stored ones.

    Args:
        events: The events in their order.
        interrupted: Whether the answer ended early. A `FinalAnswer` among the events says it itself.
    """
    builder = ReplyBuilder()
    builder.add(list(events))
    return builder.reply(interrupted=interrupted)


def _merged(old: Route | None, new: Route) -> Route:
    if old is None:
        return new
    return evolve(
        old,
        route=new.route or old.route,
        model=new.model or old.model,
        provider=new.provider or old.provider,
        extra={**(old.extra or {}), **(new.extra or {})} or None,
    )
