"""Merges the pieces of tool calls.

Reference: docs/protocol/inference ("tool-call deltas").
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from attrs import define, field

from hfclient.decoding.json_repair import loads, scrub
from hfclient.decoding.json_values import int_or_none
from hfclient.decoding.utf16 import repair_surrogates
from hfclient.events import AnyEvent, ToolCall, Unknown
from hfclient.inference.completions.field_merging import FieldMerger, has_content

__all__ = ["ToolCallMerger", "new_call_id", "parse_arguments"]

# Spellings of "no arguments": null (Cohere), an empty array (PHP), None (Python); some servers encode JSON twice.
_NOTHING = ("", "null", "{}", "[]", '""', '"null"', '"{}"', "None")


def new_call_id() -> str:
    """Return a new id for a call: nine letters and digits, the only form that Mistral's templates accept."""
    return uuid.uuid4().hex[:9]


def parse_arguments(arguments: str) -> dict[str, Any] | None:
    """Return the arguments of a call as a dict, or None if they are not an object; JSON that was encoded twice is decoded twice.

    >>> parse_arguments('{"a": 1}'), parse_arguments("null"), parse_arguments('"{}"'), parse_arguments("[1]")
    ({'a': 1}, {}, {}, None)
    """
    arguments = arguments.strip()
    if arguments in _NOTHING:
        return {}
    try:
        value = loads(arguments.encode("utf-8", "replace"))
        if isinstance(value, str):
            value = loads(value.encode("utf-8", "replace"))
    except ValueError:
        return None
    return scrub(value) if isinstance(value, dict) else None


@define
class _PartialCall:
    index: int
    id: str = ""
    name: str = ""
    arguments: list[str] = field(factory=list)
    extra: FieldMerger = field(factory=FieldMerger)

    def text(self) -> str:
        """Return the arguments so far."""
        if len(self.arguments) > 1:
            self.arguments = ["".join(self.arguments)]
        return "".join(self.arguments).strip()

    def is_whole(self) -> bool:
        """Return whether the arguments are complete: an object that is not empty has its own end."""
        last = self.arguments[-1].rstrip() if self.arguments else ""
        return last.endswith("}") and self.text() != "{}" and _is_object(self.text())

    @property
    def is_empty(self) -> bool:
        """Return whether it is empty: some servers put an empty call into every answer."""
        return not self.id and not self.name and self.text() in _NOTHING


class ToolCallMerger:
    """Merges the deltas of one answer into `ToolCall` events, in the order in which the calls began.

    Args:
        new_id: Makes ids for calls whose own id is missing, repeated, or a bare number (text-generation-inference
            counts from "0" in every answer, so over several turns its ids repeat).
    """

    def __init__(self, new_id: Callable[[], str] = new_call_id) -> None:
        self._calls: list[_PartialCall] = []
        self._newest: dict[tuple[int | None, str], _PartialCall] = {}
        self._new_id = new_id
        self._used: set[str] = set()
        self._odd: list[AnyEvent] = []

    @property
    def has_begun(self) -> bool:
        """Whether there is a call, complete or not."""
        return any(not call.is_empty for call in self._calls)

    def add(self, deltas: Any, *, whole: bool = False) -> None:
        """Add the ``tool_calls`` of one chunk.

        Args:
            deltas: As on the wire: a list, or a single object.
            whole: Each entry is a complete call (the answer is not a stream).
        """
        for delta in deltas if isinstance(deltas, list) else [deltas]:
            if isinstance(delta, dict):
                self._add(delta, whole)
            elif delta is not None:
                self._odd.append(Unknown("tool_call", {"tool_call": scrub(delta)}))

    def _add(self, delta: dict[str, Any], whole: bool) -> None:
        function = delta.get("function")
        is_flat = not isinstance(function, dict)  # the form of the "responses" style
        inner: dict[str, Any] = delta if not isinstance(function, dict) else function
        custom = delta.get("custom")  # OpenAI's custom tools have a text instead of arguments
        piece = _Piece(
            index=_index(delta.get("index")),
            id=_string(delta.get("id")),
            name=_string(inner.get("name")) or _string(custom.get("name") if isinstance(custom, dict) else None),
            arguments=_written(inner.get("arguments")),
            begins=any(delta.get(key) is not None for key in ("id", "type")),
        )
        call = self._find(piece, whole)
        if piece.id and not call.id:  # set once: some servers repeat it on every delta, others send ""
            call.id = piece.id
            self._note(call, piece.id)
        call.name = _joined_name(call, piece)
        if piece.arguments is not None:
            call.arguments.append(piece.arguments)
        call.extra.add(_unknown(delta, ("index", "id", "type", "function", *(("name", "arguments") if is_flat else ()))))
        if delta.get("type") not in (None, "", "function", "function_call"):
            call.extra.add({"type": delta["type"]})
        if not is_flat and (unknown := _unknown(inner, ("name", "arguments", "index"))):
            call.extra.add({"function": unknown})

    def _find(self, piece: _Piece, whole: bool) -> _PartialCall:
        found = self._newest.get((piece.index, piece.id)) or self._newest.get((piece.index, ""))
        if found is None or whole or piece.begins_another(found):
            found = _PartialCall(len(self._calls) if piece.index is None else piece.index)
            self._calls.append(found)
            self._note(found, "")
        return found

    def _note(self, call: _PartialCall, call_id: str) -> None:
        """Index *call* by its index, or None, and *call_id*, because there may be thousands of calls."""
        self._newest[call.index, call_id] = self._newest[None, call_id] = call

    def finish(self, *, good: bool) -> tuple[list[AnyEvent], list[str]]:
        """Return the complete calls and the names of the incomplete ones, and forget them.

        Args:
            good: The answer is complete, so nothing of the last call is missing. Otherwise its arguments must be a
                complete object; missing arguments do not mean a call without arguments.
        """
        calls = [call for call in self._calls if not call.is_empty]
        events: list[AnyEvent] = []
        broken: list[str] = []
        for call in calls:
            if good or call.is_whole() or (call is not calls[-1] and parse_arguments(call.text()) is not None):
                events.append(self._event(call))
            else:
                function = {"name": call.name, "arguments": call.text()}
                raw = {**call.extra.value(), "id": call.id, "function": function}
                events.append(Unknown("unfinished_tool_call", scrub(raw)))
                broken.append(repair_surrogates(call.name))
        events += self._odd
        self._calls, self._newest, self._odd = [], {}, []
        return events, broken

    def _event(self, call: _PartialCall) -> AnyEvent:
        text = repair_surrogates(call.text())
        arguments = text if text not in _NOTHING else "{}"
        if not _is_object(arguments):
            arguments = _last_object(arguments)
        own_id = repair_surrogates(call.id)
        usable = own_id and own_id not in self._used and not own_id.isdigit()
        call_uuid = own_id if usable else self._new_id()
        self._used.add(call_uuid)
        try:
            parameters = scrub(loads(arguments.encode()))
        except ValueError:
            parameters = None
        return ToolCall(
            uuid=call_uuid,
            name=repair_surrogates(call.name),
            parameters=parameters if isinstance(parameters, dict) else {},
            arguments=arguments,
            call_id=own_id or None,
            extra=call.extra.value() or None,
        )


@define
class _Piece:
    """One delta of a call."""

    index: int | None
    id: str
    name: str
    arguments: str | None
    begins: bool

    def begins_another(self, call: _PartialCall) -> bool:
        """Return whether this piece, whose index and id match *call*, begins another call.

        Some servers give every call the index 0, or none, and no ids. A new id alone proves nothing, because other servers
        make one for every delta; neither does a name, which others repeat.
        """
        if self.id and call.id:
            if self.id == call.id:  # one id for all calls: only another name distinguishes them
                return bool(self.name) and self.name != call.name and call.is_whole()
            if self.name and self._continues(call):
                return False
            return bool(self.name) or self.index is None
        if not self.name or not call.name:
            return False
        if call.is_whole():  # it cannot get any longer
            arguments = (self.arguments or "").strip()
            return self.name != call.name or self.index is None or arguments not in ("", call.text())
        if self.name == call.name:
            return False
        return not self._continues(call) if call.text() else self.begins and not call.id

    def _continues(self, call: _PartialCall) -> bool:
        """Return whether the arguments of *call* have begun, and these cannot be the start of others."""
        if not self.arguments or self.arguments.lstrip().startswith("{"):
            return False
        return call.text() not in ("", "{}") and not call.is_whole()


def _joined_name(call: _PartialCall, piece: _Piece) -> str:
    """Return the name of a call after one more piece: whole in the first one, repeated, or in pieces itself."""
    if not call.name or not piece.name or piece.name == call.name:
        return call.name or piece.name
    if call.text():
        return call.name
    return piece.name if piece.name.startswith(call.name) else call.name + piece.name


def _unknown(fields: dict[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in known and has_content(value)}


def _index(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 9:
        return int(value)
    return int_or_none(value)


def _written(arguments: Any) -> str | None:
    """Return arguments as text: some servers send an object."""
    if arguments is None or isinstance(arguments, str):
        return arguments
    return json.dumps(scrub(arguments), ensure_ascii=False)


def _is_object(text: str) -> bool:
    try:
        return isinstance(loads(text.encode("utf-8", "replace")), dict)
    except ValueError:
        return False


def _last_object(text: str) -> str:
    """Return the last of several consecutive objects: some servers begin with an empty one, others repeat the whole."""
    place = 0
    while True:
        try:
            value, end = json.JSONDecoder(strict=False).raw_decode(text, place)
        except (ValueError, RecursionError):
            return text
        if not isinstance(value, dict):
            return text
        if end == len(text):
            return text[place:]
        place = end


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
