"""One decoded update becomes one event. Types that only older servers send are in `hfclient.chat.legacy.updates`.

Reference: chat-ui, src/lib/types/MessageUpdate.ts, seen 2026-11-21 (0.20).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hfclient.chat.wire.update_fields import UpdateFields, joined
from hfclient.events import (
    AnyEvent,
    Elicitation,
    ElicitationResolved,
    File,
    FinalAnswer,
    Reasoning,
    ReasoningStatus,
    Route,
    Status,
    Title,
    ToolCall,
    ToolError,
    ToolEta,
    ToolProgress,
    ToolResult,
    Unknown,
)
from hfclient.redaction.masking import masked

__all__ = ["parse_update"]

_THINK_TAGS = re.compile(r"</?think>")


def parse_update(update: Any, *, file_url: Callable[[str], str] | None = None) -> AnyEvent:
    """Return the event for one decoded update; any other shape becomes an `Unknown`, never an exception.

    >>> parse_update({"type": "title", "title": "Hello"})
    Title(title='Hello')
    >>> parse_update({"type": "weather", "sky": "blue"})
    Unknown(type='weather', raw={'type': 'weather', 'sky': 'blue'})
    """
    if not isinstance(update, dict):
        return Unknown("", {"value": update})
    kind = update.get("type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    try:
        event = reader(UpdateFields(update), file_url) if reader is not None else None
        if event is None:
            from hfclient.chat.legacy.updates import read_legacy_update  # not loaded for today's servers

            event = read_legacy_update(UpdateFields(update))
    except (KeyError, TypeError, ValueError, AttributeError):
        event = None
    return event if event is not None else Unknown(kind if isinstance(kind, str) else "", update)


_FileURL = Callable[[str], str] | None


def _read_status(fields: UpdateFields, _: _FileURL) -> AnyEvent | None:
    status, message = fields.text("status"), fields.text_or_none("message")
    if status == "title" and message is not None:  # before May 2024
        return None
    return Status(status, message, fields.int_or_none("statusCode"), extra=fields.extra())


def _read_title(fields: UpdateFields, _: _FileURL) -> AnyEvent | None:
    return Title(_THINK_TAGS.sub("", fields.text("title")).strip(), extra=fields.extra())


def _read_reasoning(fields: UpdateFields, _: _FileURL) -> AnyEvent | None:
    match fields.raw.get("subtype"):
        case "status":
            return ReasoningStatus(fields.text("status"), extra=fields.extra())
        case "stream":
            return Reasoning(fields.text("token"), extra=fields.extra())
    return None


def _read_final_answer(fields: UpdateFields, _: _FileURL) -> AnyEvent | None:
    return FinalAnswer(fields.text("text"), bool(fields.flag("interrupted")), extra=fields.extra())


def _read_tool(fields: UpdateFields, _: _FileURL) -> AnyEvent | None:
    uuid = fields.text("uuid")
    match fields.raw.get("subtype"):
        case "call":
            call = fields.inner("call")
            return ToolCall(
                uuid,
                call.text("name"),
                call.object_or_none("parameters") or {},
                fields.text_or_none("argumentsRaw"),
                fields.text_or_none("originalId") or call.text_or_none("toolId"),  # the second before September 2025
                fields.text_or_none("reasoning"),
                fields.text_or_none("content"),
                extra=joined(fields.extra(), call.extra()),
            )
        case "result":
            result = fields.inner("result")
            call = UpdateFields(result.object_or_none("call") or {}, read=("parameters", "toolId"))
            return ToolResult(
                uuid,
                result.text("status"),
                result.objects("outputs"),
                call.text_or_none("name"),
                result.text_or_none("message"),
                result.flag("display"),
                extra=joined(fields.extra(), result.extra(), call.extra()),
            )
        case "error":
            return ToolError(uuid, masked(fields.text("message")), extra=fields.extra())
        case "eta":
            return ToolEta(uuid, fields.number("eta"), extra=fields.extra())
        case "progress":
            return ToolProgress(
                uuid,
                fields.number("progress"),
                fields.number_or_none("total"),
                fields.text_or_none("message"),
                extra=fields.extra(),
            )
    return None


def _read_file(fields: UpdateFields, file_url: _FileURL) -> AnyEvent | None:
    sha = fields.text("sha")
    url = file_url(sha) if file_url is not None else None
    return File(fields.text("name"), sha, fields.text("mime"), url, extra=fields.extra())


def _read_route(fields: UpdateFields, _: _FileURL) -> AnyEvent | None:
    return Route(
        fields.text_or_none("route") or "",
        fields.text_or_none("model") or "",
        fields.text_or_none("provider"),
        extra=fields.extra(),
    )


def _read_elicitation(fields: UpdateFields, _: _FileURL) -> AnyEvent | None:
    match fields.raw.get("subtype"):
        case "request":
            request = fields.inner("request")
            return Elicitation(
                request.text("elicitationId"),
                request.text("server"),
                request.text("mode"),
                request.text("message"),
                request.objects("fields"),
                request.text_or_none("url"),
                fields.int_or_none("expiresAt"),
                fields.text_or_none("toolUuid"),
                extra=joined(fields.extra(), request.extra()),
            )
        case "resolved":
            return ElicitationResolved(
                fields.text("elicitationId"),
                fields.text("action"),
                fields.text_or_none("resolution"),
                fields.object_or_none("content"),
                extra=fields.extra(),
            )
    return None


_READERS: dict[str, Callable[[UpdateFields, _FileURL], AnyEvent | None]] = {
    "elicitation": _read_elicitation,
    "file": _read_file,
    "finalAnswer": _read_final_answer,
    "reasoning": _read_reasoning,
    "routerMetadata": _read_route,
    "status": _read_status,
    "title": _read_title,
    "tool": _read_tool,
}
