"""The UI message stream of the Vercel AI SDK, version 1 of the protocol, as ``useChat`` of React, Vue, Svelte and Angular reads it.

Reference: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol (data stream protocol); the npm package ``ai``, version 6.0.326 of
November 2026: ``src/ui-message-stream/ui-message-chunks.ts`` (the schema) and ``src/ui/process-ui-message-stream.ts`` (the reader)
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

from hfclient.events import (
    AnyEvent,
    Elicitation,
    ElicitationResolved,
    File,
    FinalAnswer,
    Finish,
    Reasoning,
    Sources,
    Token,
    ToolCall,
    ToolError,
    ToolResult,
    to_dict,
)
from hfclient.web.formats.base import json_line
from hfclient.web.formats.common import Missing, is_web_link
from hfclient.web.problems import Problem

__all__ = ["UIMessageStream"]

_REASONS = {"stop": "stop", "length": "length", "content_filter": "content-filter", "tool_calls": "tool-calls"}
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")


class UIMessageStream:
    """The parts of a UI message, and ``[DONE]``.

    Text, reasoning, tools, sources and files become parts of their own. Other events are data parts ``data-title``, ``data-usage``, ...,
    whose ``data`` is the event (:func:`hfclient.events.to_dict`): they reach ``onData`` and are not kept in the message, except
    ``data-elicitation``. A failure is the part ``error`` with the title of the problem, after ``data-problem`` with all of it.

    Args:
        message_id: The id of the message in the browser; empty: the browser makes one.
        file_url: Returns the URL under which the browser gets a file, or None. Without it a file is the data part ``data-file``: the
            service's own URL needs the application's login.
        client_tools: The browser runs the tools: they become parts ``tool-NAME`` and reach ``onToolCall``. By default they are run by
            the service or the application, and become parts ``dynamic-tool``.
    """

    headers: ClassVar[dict[str, str]] = {
        "Content-Type": "text/event-stream; charset=utf-8",
        "x-vercel-ai-ui-message-stream": "v1",
    }
    heartbeat = b": ping\n\n"
    can_resume = False

    def __init__(
        self, *, message_id: str = "", file_url: Callable[[File], str | None] | None = None, client_tools: bool = False
    ) -> None:
        self._message_id = message_id
        self._file_url = file_url
        self._tool: dict[str, Any] = {} if client_tools else {"dynamic": True, "providerExecuted": True}
        self._open: str | None = None  # "text" or "reasoning": the part that is being written
        self._count = 0  # parts of text and reasoning
        self._delta = b""
        self._calls: set[str] = set()
        self._sources = 0
        self._has_results = False  # since the last text: what comes next is another step
        self._reason: str | None = None
        self._missing = Missing()

    def begin(self) -> bytes:
        """Return ``start`` and ``start-step``."""
        start = {"type": "start", "messageId": self._message_id} if self._message_id else {"type": "start"}
        return _part(start) + _part({"type": "start-step"})

    def event(self, event: AnyEvent, event_id: str | None) -> bytes:
        """Return the parts of an event, or nothing."""
        if type(event) is Token and self._open == "text" and event.text:  # most events
            self._missing.add(event)
            return self._delta % json_line(event.text)
        self._missing.saw(event_id)
        match event:
            case Token(text):
                self._missing.add(event)
                return self._text("text", text)
            case Reasoning(text):
                return self._text("reasoning", text)
            case FinalAnswer():
                return self._text("text", self._missing.after(event))
            case Finish(reason):
                self._reason = _REASONS.get(reason, "other")
                return b""
            case ToolCall():
                self._calls.add(event.uuid)
                return self._close() + self._call(event.uuid, event.name, event.parameters)
            case ToolResult() if event.status != "error":
                return self._result(event.uuid, event.name, {"type": "tool-output-available", "output": event.outputs})
            case ToolResult() | ToolError():
                name = event.name if isinstance(event, ToolResult) else None
                return self._result(event.uuid, name, {"type": "tool-output-error", "errorText": event.message or "The tool failed."})
            case Sources(sources):
                links = [source for source in sources if is_web_link(source.link)]
                return b"".join(map(self._source, links))
            case File() if self._file_url is not None and (url := self._file_url(event)):
                return _part({"type": "file", "url": url, "mediaType": event.mime})
            case _:
                return _data(event)

    def problem(self, problem: Problem, error: Exception) -> bytes:
        """Return ``data-problem`` and ``error``."""
        data = {"type": "data-problem", "data": problem.body, "transient": True}
        return self._close() + _part(data) + _part({"type": "error", "errorText": problem.body["title"]})

    def end(self, status: str) -> bytes:
        """Return ``finish-step`` and ``finish``, or ``abort``; then ``[DONE]``."""
        end = self._close()
        if status == "interrupted":
            end += _part({"type": "abort"})
        end += _part({"type": "finish-step"})
        if status != "interrupted":
            reason = "error" if status == "failed" else self._reason or "stop"
            end += _part({"type": "finish", "finishReason": reason})
        return end + b"data: [DONE]\n\n"

    def _text(self, kind: str, text: str) -> bytes:
        if not text:
            return b""
        if self._open == kind:
            return self._delta % json_line(text)
        written = self._close()
        if self._has_results:
            self._has_results = False
            written += _part({"type": "finish-step"}) + _part({"type": "start-step"})
        self._count += 1
        self._open = kind
        part_id = f"{kind}-{self._count}"
        self._delta = f'data: {{"type":"{kind}-delta","id":"{part_id}","delta":%b}}\n\n'.encode()
        return written + _part({"type": f"{kind}-start", "id": part_id}) + self._delta % json_line(text)

    def _close(self) -> bytes:
        """End the part of text or reasoning that is being written."""
        if self._open is None:
            return b""
        ended = _part({"type": f"{self._open}-end", "id": f"{self._open}-{self._count}"})
        self._open = None
        return ended

    def _call(self, call_id: str, name: str, parameters: Any) -> bytes:
        return _part(
            {"type": "tool-input-available", "toolCallId": call_id, "toolName": name, "input": parameters, **self._tool}
        )

    def _result(self, call_id: str, name: str | None, part: dict[str, Any]) -> bytes:
        written = self._close()
        if call_id not in self._calls:  # a reader accepts results of known calls only
            self._calls.add(call_id)
            written += self._call(call_id, name or "tool", {})
        self._has_results = True
        return written + _part({**part, "toolCallId": call_id, **self._tool})

    def _source(self, source: Any) -> bytes:
        self._sources += 1
        part = {"type": "source-url", "sourceId": f"source-{self._sources}", "url": source.link}
        return _part({**part, "title": source.title} if source.title else part)


def _part(part: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % json_line(part)


def _data(event: AnyEvent) -> bytes:
    if isinstance(event, (Elicitation, ElicitationResolved)):  # the answer replaces the question
        return _part({"type": "data-elicitation", "id": event.elicitation_id, "data": to_dict(event)})
    part = {"type": f"data-{_WORD.sub('-', type(event).__name__).lower()}", "data": to_dict(event)}
    return _part(part if isinstance(event, File) else {**part, "transient": True})
