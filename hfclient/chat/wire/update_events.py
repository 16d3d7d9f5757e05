"""One decoded update becomes one event: the shapes of every generation of chat-ui, and a place for those yet to come.

Reference: chat-ui, src/lib/types/MessageUpdate.ts, seen 2026-11-21 (0.20); older forms from 0.9.5 and 0.10 recordings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from hfclient.events import (
    AnyEvent,
    Elicitation,
    ElicitationResolved,
    File,
    FinalAnswer,
    Reasoning,
    ReasoningStatus,
    Route,
    Source,
    Sources,
    Status,
    Title,
    ToolCall,
    ToolError,
    ToolEta,
    ToolProgress,
    ToolResult,
    Unknown,
    WebSearch,
)
from hfclient.redaction.masking import masked

__all__ = ["parse_update", "web_sources"]

_THINK_TAGS = re.compile(r"</?think>")


def parse_update(update: Any, *, file_url: Callable[[str], str] | None = None) -> AnyEvent:
    """Return the event for one decoded update; what fits no shape becomes an `Unknown`, never an exception.

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
        event = reader(_Fields(update), file_url) if reader is not None else None
    except (KeyError, TypeError, ValueError, AttributeError):
        event = None
    return event if event is not None else Unknown(kind if isinstance(kind, str) else "", update)


class _Fields:
    """Reads an update's fields, type by type, and knows which ones nobody asked for.

    A field that is absent and one that is null are the same: the database stores an unset value as null. One that need
    not be there and is of another type than today's is left to ``extra``: the rest of the event is worth having.
    """

    __slots__ = ("_data", "_read")

    def __init__(self, data: dict[str, Any], read: tuple[str, ...] = ("type", "subtype")) -> None:
        self._data = data
        self._read = set(read)

    def _take(self, name: str, kinds: type | tuple[type, ...]) -> Any:
        """Return a value of one of *kinds*, or None."""
        value = self._data.get(name)
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool)):
            return None
        self._read.add(name)
        return value

    def text(self, name: str) -> str:
        """Return a text that must be there."""
        value: str | None = self._take(name, str)
        if value is None:
            raise KeyError(name)
        return value

    def maybe_text(self, name: str) -> str | None:
        value: str | None = self._take(name, str)
        return value

    def maybe_int(self, name: str) -> int | None:
        value: int | float | None = self._take(name, (int, float))
        if isinstance(value, float):
            if value.is_integer():
                return int(value)
            self._read.discard(name)
            return None
        return value

    def number(self, name: str) -> float:
        value = self.maybe_number(name)
        if value is None:
            raise KeyError(name)
        return value

    def maybe_number(self, name: str) -> float | None:
        value: float | None = self._take(name, (int, float))
        return value

    def flag(self, name: str) -> bool | None:
        value: bool | None = self._take(name, bool)
        return value

    def maybe_object(self, name: str) -> dict[str, Any] | None:
        value: dict[str, Any] | None = self._take(name, dict)
        return value

    def inner(self, name: str) -> _Fields:
        value = self.maybe_object(name)
        if value is None:
            raise KeyError(name)
        return _Fields(value, read=())

    def items(self, name: str) -> list[Any]:
        value: list[Any] | None = self._take(name, list)
        return value or []

    def objects(self, name: str) -> list[dict[str, Any]]:
        """Return a list of objects; what is none becomes one with the key ``value``."""
        return [item if isinstance(item, dict) else {"value": item} for item in self.items(name)]

    def extra(self) -> dict[str, Any] | None:
        """Return the fields that were not read, or None."""
        return {key: value for key, value in self._data.items() if key not in self._read} or None


_FileURL = Callable[[str], str] | None


def _read_status(fields: _Fields, _: _FileURL) -> AnyEvent | None:
    status, message = fields.text("status"), fields.maybe_text("message")
    if status == "title" and message is not None:  # before May 2024
        return Title(_clean_title(message), extra=fields.extra())
    return Status(status, message, fields.maybe_int("statusCode"), extra=fields.extra())


def _read_error(fields: _Fields, _: _FileURL) -> AnyEvent | None:  # agent experiments of early 2024
    return Status("error", fields.text("message"), extra=fields.extra())


def _read_title(fields: _Fields, _: _FileURL) -> AnyEvent | None:
    return Title(_clean_title(fields.text("title")), extra=fields.extra())


def _clean_title(title: str) -> str:
    return _THINK_TAGS.sub("", title).strip()


def _read_reasoning(fields: _Fields, _: _FileURL) -> AnyEvent | None:
    match fields._data.get("subtype"):
        case "status":
            return ReasoningStatus(fields.text("status"), extra=fields.extra())
        case "stream":
            return Reasoning(fields.text("token"), extra=fields.extra())
    return None


def _read_final_answer(fields: _Fields, _: _FileURL) -> AnyEvent | None:
    return FinalAnswer(fields.text("text"), bool(fields.flag("interrupted")), extra=fields.extra())


def _read_tool(fields: _Fields, _: _FileURL) -> AnyEvent | None:
    uuid = fields.text("uuid")
    match fields._data.get("subtype"):
        case "call":
            call = fields.inner("call")
            return ToolCall(
                uuid,
                call.text("name"),
                call.maybe_object("parameters") or {},
                fields.maybe_text("argumentsRaw"),
                fields.maybe_text("originalId") or call.maybe_text("toolId"),  # the second before September 2025
                fields.maybe_text("reasoning"),
                fields.maybe_text("content"),
                extra=_joined(fields.extra(), call.extra()),
            )
        case "result":
            result = fields.inner("result")
            call = _Fields(result.maybe_object("call") or {}, read=("parameters", "toolId"))
            return ToolResult(
                uuid,
                result.text("status"),
                result.objects("outputs"),
                call.maybe_text("name"),
                result.maybe_text("message"),
                result.flag("display"),
                extra=_joined(fields.extra(), result.extra(), call.extra()),
            )
        case "error":
            return ToolError(uuid, masked(fields.text("message")), extra=fields.extra())
        case "eta":
            return ToolEta(uuid, fields.number("eta"), extra=fields.extra())
        case "progress":
            return ToolProgress(
                uuid,
                fields.number("progress"),
                fields.maybe_number("total"),
                fields.maybe_text("message"),
                extra=fields.extra(),
            )
    return None


def _joined(*extras: dict[str, Any] | None) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for extra in extras:
        found.update(extra or {})
    return found or None


def _read_web_search(fields: _Fields, _: _FileURL) -> AnyEvent | None:
    kind = fields.maybe_text("subtype") or fields.maybe_text("messageType")  # the second before May 2024
    if kind == "sources":
        fields.maybe_text("message")
        return Sources(tuple(_source(item) for item in fields.items("sources")), extra=fields.extra())
    if kind in ("update", "error", "finished"):
        args = tuple(str(arg) for arg in fields.items("args"))
        return WebSearch(fields.maybe_text("message") or "", args, kind, extra=fields.extra())
    return None


def _source(item: Any) -> Source:
    fields = _Fields(item if isinstance(item, dict) else {"link": item})
    link = fields.maybe_text("link") or fields.text("uri")
    return Source(link, fields.maybe_text("title"), fields.maybe_text("hostname"), fields.maybe_text("text"))


def web_sources(event: FinalAnswer) -> Sources | None:
    """Take the sources out of a final answer's ``extra``: servers of 2024 and 2025 add them, often as null."""
    found = (event.extra or {}).get("webSources")
    if found is not None and not isinstance(found, list):
        return None
    try:
        sources = tuple(map(_source, found or ()))
    except KeyError:
        return None
    event.extra = {key: value for key, value in (event.extra or {}).items() if key != "webSources"} or None
    return Sources(sources) if sources else None


def _read_file(fields: _Fields, file_url: _FileURL) -> AnyEvent | None:
    sha = fields.text("sha")
    url = file_url(sha) if file_url is not None else None
    return File(fields.text("name"), sha, fields.text("mime"), url, extra=fields.extra())


def _read_route(fields: _Fields, _: _FileURL) -> AnyEvent | None:
    return Route(
        fields.maybe_text("route") or "",
        fields.maybe_text("model") or "",
        fields.maybe_text("provider"),
        extra=fields.extra(),
    )


def _read_elicitation(fields: _Fields, _: _FileURL) -> AnyEvent | None:
    match fields._data.get("subtype"):
        case "request":
            request = fields.inner("request")
            return Elicitation(
                request.text("elicitationId"),
                request.text("server"),
                request.text("mode"),
                request.text("message"),
                request.objects("fields"),
                request.maybe_text("url"),
                fields.maybe_int("expiresAt"),
                fields.maybe_text("toolUuid"),
                extra=_joined(fields.extra(), request.extra()),
            )
        case "resolved":
            return ElicitationResolved(
                fields.text("elicitationId"),
                fields.text("action"),
                fields.maybe_text("resolution"),
                fields.maybe_object("content"),
                extra=fields.extra(),
            )
    return None


_READERS: dict[str, Callable[[_Fields, _FileURL], AnyEvent | None]] = {
    "elicitation": _read_elicitation,
    "error": _read_error,
    "file": _read_file,
    "finalAnswer": _read_final_answer,
    "reasoning": _read_reasoning,
    "routerMetadata": _read_route,
    "status": _read_status,
    "title": _read_title,
    "tool": _read_tool,
    "webSearch": _read_web_search,
}
