"""chat-ui's message updates become events: the JSON Lines that answer ``POST /conversation/{id}``.

Almost all of a long answer are ``stream`` lines and keep-alives. So a block of lines is decoded at once into private
structs that know exactly those; a block that holds anything else (another type, a new field, half a character) goes
line by line through a reader that knows everything and drops nothing.

Reference: chat-ui, src/lib/types/MessageUpdate.ts, seen 2026-11-21 (0.20); older forms from 0.9.5 and 0.10 recordings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec

from hfclient.errors import GenerationError, ProtocolError, StreamInterrupted
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
    Token,
    ToolCall,
    ToolError,
    ToolEta,
    ToolProgress,
    ToolResult,
    Unknown,
    WebSearch,
)
from hfclient.frames import LineFramer, excerpt
from hfclient.surrogates import SurrogateJoiner, mend_surrogates, utf16_length
from hfclient.thinking import ThinkSplitter

__all__ = ["UpdateDecoder", "parse_update"]

_KEEP_ALIVE = b'{"type":"status","status":"keepAlive"}\n'  # every 100 ms while a model thinks
_THINK_TAGS = re.compile(r"</?think>")


class _StreamLine(msgspec.Struct, tag_field="type", tag="stream", gc=False, forbid_unknown_fields=True):
    token: str


_decode_tokens = msgspec.json.Decoder(_StreamLine).decode_lines
_decode_line = msgspec.json.Decoder().decode


class UpdateDecoder:
    """Turns the bytes of one answer into events; a `hfclient.stream.Decoder`.

    Args:
        file_url: Gives the URL of a produced file by its sha, or None.
    """

    def __init__(self, *, file_url: Callable[[str], str] | None = None) -> None:
        self._framer = LineFramer()
        self._thinking = ThinkSplitter()
        self._halves = SurrogateJoiner()
        self._file_url = file_url
        self._tail_is_broken = False
        self.error: Status | None = None
        """The error that the server reported inside the stream; raised at its end, because more may follow."""
        self.ended = False
        """A final answer, ``finished`` or a durable question came: the run is over, whatever follows."""
        self.text_units = 0
        """UTF-16 units of ``stream`` tokens taken so far, tags and all: how the resume log is lined up."""
        self.others = 0
        """How many updates of other types were taken, keep-alives not counted."""

    def feed(self, data: bytes) -> list[AnyEvent]:
        """Return the events of the lines that *data* completes.

        Raises:
            ProtocolError: A line is no JSON, or too long.
        """
        block = self._framer.feed(data)
        if _KEEP_ALIVE in block:
            block = block.replace(_KEEP_ALIVE, b"")
        if not block:
            return []
        events: list[AnyEvent] = []
        if self._halves.held:
            self._feed_lines(block, events)
            return events
        try:
            lines = _decode_tokens(block)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._feed_lines(block, events)
            return events
        # A block without bytes or escapes beyond the basic plane has one unit per character.
        plain = block.isascii() and b"\\ud" not in block
        units = 0
        thinking = self._thinking
        kind: type[Token] | type[Reasoning] = Reasoning if thinking.inside else Token
        for line in lines:
            text = line.token
            if "\0" in text:  # the server pads tokens to 16 characters
                text = text.replace("\0", "")
            units += len(text) if plain else utf16_length(text)
            if "<" in text or thinking.held:
                self._add_text(text, events)
                kind = Reasoning if thinking.inside else Token
            elif text:
                events.append(kind(text))
        self.text_units += units
        return events

    def end_of_body(self) -> list[AnyEvent]:
        """Return the events of a last line without its end; half a line is dropped, `check_end` tells of it."""
        events: list[AnyEvent] = []
        rest = self._framer.finish()
        if rest.strip():
            try:
                self._feed_lines(rest, events)
            except ProtocolError:
                self._tail_is_broken = True
        return events

    def finish(self) -> list[AnyEvent]:
        """Return the events of a last line without its end, and what was held back of the text."""
        events = self.end_of_body()
        self._add_text(self._halves.finish(), events)
        for inside, piece in self._thinking.finish():
            events.append(Reasoning(piece) if inside else Token(piece))
        return events

    def check_end(self) -> None:
        """Raise what the end of the body means, unless it is a good one.

        Raises:
            GenerationError: The server reported an error; the message is its own.
            StreamInterrupted: The body ended before the answer did.
        """
        if self.error is not None:
            raise GenerationError(
                self.error.message or f"the generation failed with status {self.error.status_code}",
                status_code=self.error.status_code,
            )
        if not self.complete:
            raise StreamInterrupted("the answer ended before the server said that it was complete")

    @property
    def complete(self) -> bool:
        """Whether the body ended where an answer may end."""
        return (self.ended or self.error is not None) and not self._tail_is_broken

    def drop_line(self) -> None:
        """Forget the beginning of a line whose rest will not come."""
        self._framer.finish()
        self._tail_is_broken = False

    def _feed_lines(self, block: bytes, events: list[AnyEvent]) -> None:
        for line in block.split(b"\n"):
            line = line.strip()
            if line:
                self.add(_parse_line(line), events)

    def add(self, update: Any, events: list[AnyEvent]) -> None:
        """Append the events of one decoded update: what the resume log holds is the same."""
        match update:
            case {"type": "stream", "token": str(token)}:
                before = len(events)
                token = token.replace("\0", "")
                self.text_units += utf16_length(token)
                self._add_text(self._mended(token), events)
                if len(update) > 2:
                    extra = {key: value for key, value in update.items() if key not in ("type", "token")}
                    for event in events[before:]:
                        event.extra = extra
            case {"type": "reasoning", "subtype": "stream", "token": str(token)}:
                self.others += 1
                if text := self._mended(token):
                    events.append(Reasoning(text))
            case {"type": "status", "status": "keepAlive"}:
                pass
            case _:
                self.others += 1
                event = parse_update(update, file_url=self._file_url)
                self._note(event)
                events.append(event)

    def _note(self, event: AnyEvent) -> None:
        if isinstance(event, FinalAnswer) or (isinstance(event, Elicitation) and event.expires_at is None):
            self.ended = True
        elif isinstance(event, Status):
            if event.status == "error":
                self.error = event
            elif event.status == "finished":
                self.ended = True

    def _mended(self, text: str) -> str:
        return self._halves.feed(text) if self._halves.held or not _is_whole(text) else text

    def _add_text(self, text: str, events: list[AnyEvent]) -> None:
        for inside, piece in self._thinking.feed(text):
            events.append(Reasoning(piece) if inside else Token(piece))


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parse_line(line: bytes) -> Any:
    try:
        return _decode_line(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        try:
            return json.loads(line)  # takes half characters and NaN, which msgspec does not
        except (ValueError, RecursionError):
            raise ProtocolError("the server sent a line that is not JSON", frame=excerpt(line)) from None


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

    A field that is absent and one that is null are the same: the database stores an unset value as null.
    """

    __slots__ = ("_data", "_read")

    def __init__(self, data: dict[str, Any], read: tuple[str, ...] = ("type", "subtype")) -> None:
        self._data = data
        self._read = set(read)

    def _take(self, name: str, kinds: type | tuple[type, ...]) -> Any:
        self._read.add(name)
        value = self._data.get(name)
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool)):
            raise TypeError(name)
        return mend_surrogates(value) if isinstance(value, str) and not _is_whole(value) else value

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
        value: int | None = self._take(name, int)
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
                fields.maybe_text("originalId"),
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
                [item if isinstance(item, dict) else {"value": item} for item in result.items("outputs")],
                call.maybe_text("name"),
                result.maybe_text("message"),
                result.flag("display"),
                extra=_joined(fields.extra(), result.extra(), call.extra()),
            )
        case "error":
            return ToolError(uuid, fields.text("message"), extra=fields.extra())
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


def _source(item: dict[str, Any]) -> Source:
    return Source(str(item.get("link") or item["uri"]), item.get("title"), item.get("hostname"), item.get("text"))


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
                request.items("fields"),
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
